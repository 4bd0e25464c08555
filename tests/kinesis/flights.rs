//! The flights job on `kcl serve`, a process of its own that keeps the limits of the service.

use kcl_producer::{Aggregation, ProducerMetrics};
use kcl_stream_kinesis::FanOut;

use crate::flights_job::{STREAM, ServedStream, USUAL_RATE, run};
use crate::kcl_built::kcl;
use crate::kcl_serve::Served;

/// One by one four shards take 4,000 rows a second.
const TOO_FAST: u32 = 8_000;

async fn job(fan_out: Option<FanOut>, aggregation: Aggregation, rate: u32) -> ProducerMetrics {
    let streams = format!("{STREAM}:4");
    let served = Served::start(&kcl(), &["--streams", &streams]).unwrap();
    run(ServedStream { url: served.url.clone(), fan_out, aggregation, rate }, 3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_put_faster_than_the_service_takes_them_are_counted_right_by_polling() {
    let metrics = job(None, Aggregation::Off, TOO_FAST).await;
    assert!(metrics.throttled_stream_records > 0, "{metrics:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_in_aggregates_are_counted_right_by_polling() {
    job(None, Aggregation::KPL, USUAL_RATE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_in_aggregates_are_counted_right_by_fan_out() {
    job(Some(FanOut::register("flights")), Aggregation::KPL, USUAL_RATE).await;
}
