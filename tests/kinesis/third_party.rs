//! The flights job by polling on an engine that is not ours, where `tests/kinesis/run` started one.
//! It names no child shards on the last page, so they come from listings.

use kcl_producer::Aggregation;

use crate::flights_job::{ServedStream, run};

#[tokio::test(flavor = "multi_thread")]
async fn flights_are_counted_right_on_the_engine_of_a_third_party() {
    let url = std::env::var("KINESIS_LOCAL_URL").expect("tests/kinesis/run sets it");
    run(ServedStream { url, fan_out: None, aggregation: Aggregation::KPL }, 3).await;
}
