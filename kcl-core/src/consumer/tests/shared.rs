//! What all shards of a worker have read is bounded together.

use std::sync::Arc;

use super::world::*;
use crate::consumer::Budget;
use crate::source::ReadLimit;

#[tokio::test(start_paused = true)]
async fn a_hundred_stuck_processors_stay_within_the_budget_and_other_shards_go_on() {
    let whole = ReadLimit { records: 10_000, bytes: 1 << 30 };
    let budget = Budget::new(whole);
    let mut stuck = Vec::new();
    for _ in 0..100 {
        let mut world = World::new();
        world.budget = Arc::clone(&budget);
        world.shelf.put(1..=1_000);
        let running = world.start(|called| async move {
            if let Called::Records(..) = called {
                std::future::pending::<()>().await;
            }
            Ok(())
        });
        stuck.push((world, running));
    }
    for _ in 0..20 {
        stuck[0].0.settle().await;
        assert!(budget.used().records <= whole.records, "{:?}", budget.used());
    }
    assert!(stuck.iter().all(|(world, _)| world.calls().len() == 2), "each has its first batch");
    let held = budget.used();
    let mut other = World::new();
    other.budget = Arc::clone(&budget);
    other.shelf.put(1..=5_000);
    let running = other.start(ok);
    for _ in 0..300 {
        other.settle().await;
        assert!(budget.used().records <= whole.records + whole.records / 200);
    }
    assert_eq!(running.status.borrow().acked, at(5_000));
    drop(running);
    for (_, running) in stuck {
        running.task.abort();
        let _ = running.task.await;
    }
    other.settle().await;
    assert!(held.records > whole.records / 2, "they used it: {held:?}");
    assert_eq!(budget.used().records, 0, "what they held is free again");
}
