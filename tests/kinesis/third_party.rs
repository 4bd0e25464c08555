//! An engine that is not ours, where `tests/kinesis/run` started one: the conformance suite of
//! every source, and the flights job, by polling. It names no child shards on the last page, so
//! they come from listings.

use kcl_producer::Aggregation;

use crate::flights_job::{Beside, Job, USUAL_RATE, run};
use crate::harness::elsewhere;

fn url() -> String {
    std::env::var("KINESIS_LOCAL_URL").expect("tests/kinesis/run sets it")
}

kcl_testkit::stream_source_suite!(elsewhere(&url()).await);

#[tokio::test(flavor = "multi_thread")]
async fn flights_are_counted_right_on_the_engine_of_a_third_party() {
    let (fan_out, aggregation) = (None, Aggregation::KPL);
    let (rate, beside) = (USUAL_RATE, Beside::Nobody);
    run(Job { url: url(), fan_out, aggregation, rate, beside }, 3).await;
}
