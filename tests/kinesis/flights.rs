//! The flights job on `kcl serve`, a process of its own that keeps the limits of the service.

use kcl_producer::Aggregation;
use kcl_stream_kinesis::FanOut;

use crate::flights_job::{Beside, Job, Met, STREAM, USUAL_RATE, run};
use crate::kcl_built::kcl;
use crate::kcl_serve::Served;

/// A shard takes 1,000 rows a second, one by one.
const TOO_FAST: u32 = 8_000;

async fn job(fan_out: Option<FanOut>, aggregation: Aggregation, rate: u32, beside: Beside) -> Met {
    // Over several shards the rows of one pause of the script fit into what they take at once.
    let shards = if rate == TOO_FAST { 1 } else { 4 };
    let streams = format!("{STREAM}:{shards}");
    let served = Served::start(&kcl(), &["--streams", &streams]).unwrap();
    run(Job { url: served.url.clone(), fan_out, aggregation, rate, beside }, 3).await
}

fn fan_out() -> Option<FanOut> {
    Some(FanOut::register("flights"))
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_put_and_polled_faster_than_the_service_allows_are_counted_right() {
    let met = job(None, Aggregation::Off, TOO_FAST, Beside::Another).await;
    assert!(met.producer.throttled_stream_records > 0, "{met:?}");
    assert!(met.throttled_reads > 0, "{met:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_put_faster_than_the_service_takes_them_are_counted_right_by_fan_out() {
    let met = job(fan_out(), Aggregation::Off, TOO_FAST, Beside::Nobody).await;
    assert!(met.producer.throttled_stream_records > 0, "{met:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_in_aggregates_are_counted_right_by_polling() {
    job(None, Aggregation::KPL, USUAL_RATE, Beside::Nobody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_in_aggregates_are_counted_right_by_fan_out() {
    job(fan_out(), Aggregation::KPL, USUAL_RATE, Beside::Nobody).await;
}
