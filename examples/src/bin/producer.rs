//! Puts the lines of a file on a Kinesis stream.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, stdin};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use clap::Parser;
use examples::{aws, say};
use kcl_core::{Clock, PartitionKey, SystemClock};
use kcl_producer::{
    Aggregation, KinesisSink, Order, Producer, ProducerMetrics, ProducerOptions, Shutdown,
};
use serde_json::{Value, json};

/// Puts each line of a file, or of the standard input, on a Kinesis stream, and says at the end
/// what became of them. Exit codes: 0 all were put; 1 some were not, or it could not start; 2 wrong
/// usage.
#[derive(Debug, Parser)]
#[command(name = "producer", version)]
struct Args {
    /// Name or ARN of the stream
    stream: String,
    /// File of lines [default: the standard input]
    file: Option<PathBuf>,
    /// Another service than AWS, such as `kcl serve`: http://127.0.0.1:4566
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Region [default: as for every AWS client]
    #[arg(long)]
    region: Option<String>,
    /// The column of comma-separated values, from 1, that is the partition key [default: the number
    /// of the line, which spreads them]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    key_column: Option<u32>,
    /// Leave out the first line: names of columns
    #[arg(long)]
    header: bool,
    /// Several lines in one record, in the Kinesis Producer Library's format
    #[arg(long)]
    aggregate: bool,
    /// In any order, which is faster
    #[arg(long)]
    any_order: bool,
    /// How long a line waits for others to share its request (milliseconds)
    #[arg(long, value_name = "N", default_value_t = 50)]
    linger_ms: u64,
    /// How long a line is tried again (seconds)
    #[arg(long, value_name = "N", default_value_t = 60)]
    patience: u64,
    /// Make up so many lines instead of reading any, to see how fast it goes
    #[arg(long, value_name = "N", conflicts_with_all = ["file", "header", "key_column"])]
    generate: Option<u64>,
    /// Bytes of each line that is made up
    #[arg(long, value_name = "N", default_value_t = 100, requires = "generate")]
    line_bytes: usize,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

/// Progress is shown this often.
const TICK: Duration = Duration::from_secs(1);
/// Partition keys of lines that are made up.
const KEYS: u64 = 10_000;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no thread can be started: {error}")),
    };
    match runtime.block_on(run(&args)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("producer: {why}");
    ExitCode::FAILURE
}

async fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let config = aws::config(args.endpoint_url.as_deref(), args.region.as_deref()).await;
    let sink = KinesisSink::new(&Client::new(&config), &args.stream);
    let options = ProducerOptions {
        aggregation: if args.aggregate { Aggregation::KPL } else { Aggregation::Off },
        order: if args.any_order { Order::Any } else { Order::ByKey },
        linger: Some(Duration::from_millis(args.linger_ms)),
        patience: Duration::from_secs(args.patience),
        ..ProducerOptions::default()
    };
    let producer = Producer::builder(Arc::new(sink)).options(options).start();
    let started = SystemClock.monotonic();
    let showing = tokio::spawn(show(producer.clone()));
    let fed = feed(args, &producer).await;
    let ended = producer.shutdown(Duration::from_secs(args.patience + 10)).await;
    showing.abort();
    let seconds = SystemClock.monotonic().since(started).as_secs_f64();
    let metrics = producer.metrics();
    for hot in producer.hot_shards() {
        eprintln!("{hot}");
    }
    if let Some(failure) = producer.last_failure() {
        eprintln!("the last failure: {failure}");
    }
    report(args, &metrics, seconds);
    fed?;
    Ok(ended == Shutdown::Flushed && metrics.put_records == metrics.accepted_records)
}

/// Puts every line. A delivery is not kept: the metrics count what failed.
async fn feed(args: &Args, producer: &Producer) -> Result<(), Box<dyn Error>> {
    if let Some(lines) = args.generate {
        let keys: Vec<PartitionKey> =
            (0..KEYS).map(|number| PartitionKey::from(format!("key-{number}"))).collect();
        let data = kcl_core::Bytes::from(vec![b'x'; args.line_bytes]);
        for number in 0..lines {
            producer.put(keys[(number % KEYS) as usize].clone(), data.clone()).await?;
        }
        return Ok(());
    }
    let input: Box<dyn BufRead + Send> = match &args.file {
        None => Box::new(BufReader::new(stdin())),
        Some(path) => {
            let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Box::new(BufReader::new(file))
        }
    };
    for (line, number) in input.split(b'\n').zip(1u64..) {
        let line = line.map_err(|error| format!("line {number}: {error}"))?;
        if args.header && number == 1 {
            continue;
        }
        let key = match args.key_column {
            None => number.to_string(),
            Some(column) => column_of(&line, column)
                .ok_or_else(|| format!("line {number} has no column {column} with a key"))?,
        };
        let put = producer.put(key, line).await;
        put.map_err(|error| format!("line {number}: {error}"))?;
    }
    Ok(())
}

/// A column of comma-separated values, from 1; quotes are respected.
fn column_of(line: &[u8], column: u32) -> Option<String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
    let row = reader.records().next()?.ok()?;
    row.get(column as usize - 1).filter(|key| !key.is_empty()).map(str::to_owned)
}

/// One line on a terminal, overwritten until the end.
async fn show(producer: Producer) {
    while std::io::stderr().is_terminal() {
        SystemClock.sleep(TICK).await;
        let metrics = producer.metrics();
        eprint!("\r{} put, {} waiting ", metrics.put_records, metrics.waiting_records);
    }
}

fn report(args: &Args, metrics: &ProducerMetrics, seconds: f64) {
    let rate = metrics.put_records as f64 / seconds.max(0.001);
    if args.json {
        say(json(metrics, seconds, rate));
        return;
    }
    say(format!(
        "{} lines put in {seconds:.1} s ({rate:.0}/s), in {} records and {} requests",
        metrics.put_records, metrics.stream_records, metrics.requests
    ));
    let (failed, unknown) = (metrics.failed_records, metrics.unknown_records);
    if failed + unknown > 0 {
        say(format!("{failed} were not put; of {unknown} more nobody knows"));
    }
}

fn json(metrics: &ProducerMetrics, seconds: f64, rate: f64) -> Value {
    json!({
        "accepted": metrics.accepted_records,
        "put": metrics.put_records,
        "failed": metrics.failed_records,
        "unknown": metrics.unknown_records,
        "bytes": metrics.put_bytes,
        "stream_records": metrics.stream_records,
        "requests": metrics.requests,
        "throttled": metrics.throttled_stream_records,
        "retried": metrics.retried_records,
        "lost_replies": metrics.lost_replies,
        "misplaced_aggregates": metrics.misplaced_aggregates,
        "seconds": seconds,
        "records_per_second": rate,
    })
}
