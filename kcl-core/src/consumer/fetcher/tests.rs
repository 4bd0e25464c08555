//! What is read ahead, and how it is handed out.

use super::super::budget::Budget;
use super::super::tests::world::{Shelf, ShelfSource, at, record};
use super::*;
use crate::clock::TokioClock;
use futures_util::FutureExt;
use std::future::poll_fn;

/// Records of 5 bytes each.
fn fetcher(shelf: &Arc<Shelf>, change: impl FnOnce(&mut ConsumerConfig)) -> Fetcher {
    let mut config = ConsumerConfig::default();
    change(&mut config);
    let source = Arc::new(ShelfSource(Arc::clone(shelf)));
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(0));
    let start = Checkpoint::TrimHorizon;
    let budget = Budget::new(ReadLimit { records: 1_000_000, bytes: 256 << 20 });
    let shard = ShardId::new("shardId-000000000000");
    Fetcher::new(source, shard, start, &config, &clock, (0, budget.share()))
}

fn fill(fetcher: &mut Fetcher) {
    while poll_fn(|cx| fetcher.poll(cx)).now_or_never().is_some() {}
}

fn take(fetcher: &mut Fetcher, most: usize) -> Vec<u128> {
    let records = fetcher.take(most).unwrap_or_default();
    records.iter().map(|record| record.position.sequence.parts().1).collect()
}

#[tokio::test]
async fn reading_ahead_stops_at_the_bound_of_records_and_goes_on_below_it() {
    let shelf = Arc::new(Shelf::default());
    shelf.put(1..=100);
    let mut fetcher = fetcher(&shelf, |config| {
        (config.prefetch_records, config.batch_records) = (10, 4);
    });
    fill(&mut fetcher);
    assert_eq!(fetcher.queued.records, 10);
    assert_eq!(take(&mut fetcher, 4), [1, 2, 3, 4]);
    fill(&mut fetcher);
    assert_eq!(fetcher.queued.records, 10);
    assert_eq!(fetcher.queued.bytes, 50);
    assert_eq!(fetcher.enqueued, at(14));
}

#[tokio::test]
async fn reading_ahead_stops_at_the_bound_of_bytes() {
    let shelf = Arc::new(Shelf::default());
    shelf.put(1..=1000);
    let mut fetcher = fetcher(&shelf, |config| {
        (config.prefetch_bytes, config.batch_records) = (1024, 100);
    });
    fill(&mut fetcher);
    assert_eq!(fetcher.queued.records, 300, "the read that passes the bound is the last");
}

#[tokio::test]
async fn small_reads_are_put_together_and_large_ones_cut() {
    let shelf = Arc::new(Shelf::default());
    let mut fetcher = fetcher(&shelf, |config| config.batch_bytes = 1024);
    for numbers in [1..=2, 3..=3, 4..=6] {
        shelf.put(numbers);
        fill(&mut fetcher);
    }
    assert_eq!(take(&mut fetcher, 4), [1, 2, 3]);
    assert_eq!(take(&mut fetcher, 2), [4, 5]);
    assert_eq!(take(&mut fetcher, 2), [6]);
    assert_eq!(take(&mut fetcher, 2), [0u128; 0]);
    assert_eq!((fetcher.queued.records, fetcher.queued.bytes), (0, 0));
    shelf.put(7..=400);
    fill(&mut fetcher);
    assert_eq!(take(&mut fetcher, usize::MAX).len(), 204, "1,024 bytes at 5 each");
}

#[test]
fn a_record_larger_than_the_bound_goes_alone() {
    let bound = ReadLimit { records: 10, bytes: 3 };
    assert_eq!(fitting(&[record(1), record(2)], bound), 1);
}
