//! The Kinesis source by polling, through the endpoint: the conformance suite of every source.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use kcl_core::protocol::{SequenceNumber, ShardId};
use kcl_core::{Clock, SourceError, StreamSource, SystemClock, async_trait};
use kcl_endpoint::Endpoint;
use kcl_stream_kinesis::KinesisSource;
use kcl_testkit::conformance::stream_source::SourceHarness;

use crate::local;

struct Polled {
    client: Client,
    /// Stops when dropped.
    _endpoint: Endpoint,
}

async fn fresh() -> Polled {
    let endpoint = local::endpoint(2).await;
    Polled { client: local::client(&endpoint), _endpoint: endpoint }
}

#[async_trait]
impl SourceHarness for Polled {
    fn source(&self) -> Arc<dyn StreamSource> {
        let brief = Duration::from_millis(5);
        let source = KinesisSource::builder(self.client.clone(), "s");
        Arc::new(source.idle(brief).read_interval(brief).build())
    }
    async fn put(&self, hash_key: u128, data: &[u8]) -> (ShardId, SequenceNumber) {
        let put = self.client.put_record().stream_name("s").partition_key("key");
        let put = put.explicit_hash_key(hash_key.to_string()).data(Blob::new(data));
        let answer = put.send().await.unwrap();
        (ShardId::new(&answer.shard_id), answer.sequence_number.parse().unwrap())
    }
    async fn split(&self, shard: &ShardId, at: u128) {
        let split = self.client.split_shard().stream_name("s");
        let split = split.shard_to_split(shard.as_str()).new_starting_hash_key(at.to_string());
        split.send().await.unwrap();
    }
    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) {
        let merge = self.client.merge_shards().stream_name("s");
        let merge = merge.shard_to_merge(shard.as_str());
        merge.adjacent_shard_to_merge(adjacent.as_str()).send().await.unwrap();
    }
    async fn next_millisecond(&self) -> u64 {
        SystemClock.sleep(Duration::from_millis(2)).await;
        SystemClock.wall_millis()
    }
}

kcl_testkit::stream_source_suite!(fresh().await);

#[tokio::test]
async fn a_stream_describes_itself_and_an_unknown_one_is_not_found() {
    let endpoint = local::endpoint(3).await;
    let client = local::client(&endpoint);
    let source = KinesisSource::builder(client.clone(), "s").build();
    let described = source.describe().await.unwrap();
    assert_eq!(described.name.as_str(), "s");
    assert!(described.lease_prefix.starts_with("000000000000:s:"), "{described:?}");
    let ahead = described.service_time_millis.abs_diff(SystemClock.wall_millis());
    assert!(ahead < 60_000, "the service's own time");
    assert_eq!(source.list_shards().await.unwrap().len(), 3);
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let by_arn = KinesisSource::builder(client.clone(), arn).build();
    assert_eq!(by_arn.list_shards().await.unwrap().len(), 3);
    let unknown = KinesisSource::builder(client, "nowhere").build();
    assert_eq!(
        unknown.describe().await.unwrap_err(),
        SourceError::NotFound("stream nowhere".to_owned())
    );
}
