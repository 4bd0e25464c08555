//! The flights job on `kcl serve`, a process of its own that keeps the limits of the service.

use kcl_producer::Aggregation;
use kcl_stream_kinesis::FanOut;

use crate::flights_job::{STREAM, ServedStream, run};
use crate::kcl_built::kcl;
use crate::kcl_serve::Served;

async fn job(fan_out: Option<FanOut>, aggregation: Aggregation) {
    let streams = format!("{STREAM}:4");
    let served = Served::start(&kcl(), &["--streams", &streams]).unwrap();
    run(ServedStream { url: served.url.clone(), fan_out, aggregation }, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_are_counted_right_by_polling_within_the_limits_of_the_service() {
    job(None, Aggregation::Off).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_in_aggregates_are_counted_right_by_polling() {
    job(None, Aggregation::KPL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_in_aggregates_are_counted_right_by_fan_out() {
    job(Some(FanOut::register("flights")), Aggregation::KPL).await;
}
