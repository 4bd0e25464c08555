//! `kcl serve` in a process of its own, and streams in it.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use kcl_producer::{Aggregation, KinesisSink, Producer, ProducerOptions, Shutdown};

use crate::Result;
pub use crate::kcl_serve::Served;

/// Serves one stream.
pub fn start(stream: &str, shards: u32, is_unlimited: bool) -> Result<Served> {
    // Beside this program: `target/release/deps/..` and `target/release/kcl`.
    let own = std::env::current_exe()?;
    let kcl = own.ancestors().nth(2).map(|folder| folder.join("kcl"));
    let kcl = kcl.filter(|kcl| kcl.exists()).ok_or("there is no kcl: build kcl-cli first")?;
    let streams = format!("{stream}:{shards}");
    let mut words = vec!["--streams", &streams];
    words.extend(is_unlimited.then_some("--unlimited"));
    Served::start(&kcl, &words)
}

pub fn client(url: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "bench"))
        .endpoint_url(url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// Puts so many records of these bytes, under keys of all shards.
pub async fn fill(url: &str, stream: &str, count: usize, bytes: usize) -> Result<()> {
    let client = client(url);
    let mut number = 0;
    while number < count {
        let entry = |number: usize| {
            let key = format!("key-{number}");
            let data = Blob::new(vec![b'x'; bytes]);
            PutRecordsRequestEntry::builder().partition_key(key).data(data).build()
        };
        let entries =
            (number..count.min(number + 500)).map(entry).collect::<std::result::Result<_, _>>()?;
        let put = client.put_records().stream_name(stream).set_records(Some(entries));
        let answer = put.send().await?;
        if answer.failed_record_count().unwrap_or(0) > 0 {
            return Err("a record was refused".into());
        }
        number += 500;
    }
    Ok(())
}

/// The same in aggregates of the usual size.
pub async fn fill_with_aggregates(
    url: &str,
    stream: &str,
    count: usize,
    bytes: usize,
) -> Result<()> {
    let sink = Arc::new(KinesisSink::new(&client(url), stream));
    let options = ProducerOptions { aggregation: Aggregation::KPL, ..ProducerOptions::default() };
    let producer = Producer::builder(sink).options(options).start();
    for number in 0..count {
        producer.put(format!("key-{number}"), vec![b'x'; bytes]).await?;
    }
    let ended = producer.shutdown(Duration::from_secs(60)).await;
    let metrics = producer.metrics();
    match ended == Shutdown::Flushed && metrics.put_records == count as u64 {
        true => Ok(()),
        false => Err(format!("not all were put: {ended:?}, {metrics:?}").into()),
    }
}
