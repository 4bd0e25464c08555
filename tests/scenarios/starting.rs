//! A worker starts as soon as its table lets it.

use std::time::Duration;

use crate::fleet::Fleet;

#[tokio::test(start_paused = true)]
async fn a_worker_whose_requests_fail_now_and_then_goes_on_where_it_was_in_its_start() {
    let mut fleet = Fleet::new(4);
    let worker = fleet.start();
    worker.cable.loosen();
    fleet.pass(Duration::from_secs(4)).await;
    assert_eq!(worker.handle.status().shards.len(), 4);
}
