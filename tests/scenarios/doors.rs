//! Bad input at the doors of a worker.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::{Backoff, ConsumerConfig, HintAddress, RetryThenStop, Scheduler, StreamSource};
use kcl_stream_local::StreamOptions;

use crate::fleet::{Cable, Fleet, shard};

fn refusal(fleet: &Fleet, config: kcl_core::Config) -> String {
    let table = Arc::new(fleet.table.clone());
    let source = Arc::new(fleet.stream.source());
    match Scheduler::new(config, table, source, fleet.note()) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn values_out_of_bounds_are_refused_by_name_when_the_scheduler_is_built() {
    let mut fleet = Fleet::new(1);
    let (short, none) = (Duration::from_millis(1), Duration::ZERO);
    let (long, unreachable) = (Duration::from_secs(1_000_000), "0.0.0.0:9".parse().unwrap());
    for (config, name) in [
        (fleet.config().lease_duration(short), "lease_duration is 1ms: expected 300ms to 300s"),
        (fleet.config().worker_name("a b"), "worker_name is \"a b\""),
        (fleet.config().max_leases_per_worker(0), "max_leases_per_worker is 0"),
        (fleet.config().max_control_stall(none), "max_control_stall is 0ns"),
        (fleet.config().reconcile_every(short), "reconcile_every is 1ms"),
        (fleet.config().yield_for(none), "yield_for is 0ns"),
        (fleet.config().shutdown_timeout(none), "shutdown_timeout is 0ns"),
        (fleet.config().blocking_grace(long), "blocking_grace is 1000000s"),
        (fleet.config().hint_address(HintAddress::new(unreachable)), "hint_address is 0.0.0.0:9"),
        (fleet.config().read_budget(999, 1 << 30), "read_budget records is 999: expected 1000 to"),
        (fleet.config().read_budget(1_000, 1 << 50), "read_budget bytes is 1125899906842624"),
        (kcl_core::Config::new(""), "application is \"\""),
    ] {
        let refused = refusal(&fleet, config);
        assert!(refused.starts_with(name), "{refused}");
    }
    assert_eq!(refusal(&fleet, kcl_core::Config::new("fine")), "accepted");
}

#[tokio::test(start_paused = true)]
async fn settings_of_consumers_out_of_bounds_are_refused_by_name_too() {
    type Change = fn(&mut ConsumerConfig);
    let mut fleet = Fleet::new(1);
    let changes: [(Change, &str); 8] = [
        (|c| c.checkpoint_interval = Duration::ZERO, "checkpoint_interval is 0ns"),
        (|c| c.batch_records = 0, "batch_records is 0"),
        (|c| c.batch_bytes = 0, "batch_bytes is 0"),
        (|c| c.prefetch_records = 0, "prefetch_records is 0"),
        (|c| c.prefetch_bytes = 0, "prefetch_bytes is 0"),
        (|c| c.max_unacked_records = 0, "max_unacked_records is 0"),
        (|c| c.stop_timeout = Duration::from_secs(601), "stop_timeout is 601s"),
        (|c| c.max_progress = Some(Duration::ZERO), "max_progress is 0ns"),
    ];
    for (change, name) in changes {
        let mut consumer = ConsumerConfig::default();
        change(&mut consumer);
        let config = fleet.config().consumer(consumer);
        let refused = refusal(&fleet, config);
        assert!(refused.starts_with(name), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn delays_of_the_default_policy_out_of_bounds_are_refused_by_name() {
    let mut fleet = Fleet::new(1);
    let seconds = Duration::from_secs;
    for (change, name) in [
        (Backoff { growth_percent: 99, ..Backoff::PROCESSOR }, "error_policy growth_percent is 99"),
        (Backoff { initial: seconds(11), ..Backoff::PROCESSOR }, "error_policy initial is 11s"),
        (Backoff { longest: seconds(86_401), ..Backoff::PROCESSOR }, "error_policy longest is"),
    ] {
        let policy = RetryThenStop { backoff: change, ..RetryThenStop::default() };
        let config = fleet.config().error_policy(policy);
        let refused = refusal(&fleet, config);
        assert!(refused.starts_with(name), "{refused}");
    }
    let config = fleet.config().error_policy(RetryThenStop::default());
    assert_eq!(refusal(&fleet, config), "accepted");
}

#[tokio::test(start_paused = true)]
async fn commands_for_a_shard_that_is_not_here_or_a_worker_that_stopped_are_refused() {
    let mut fleet = Fleet::new(1);
    let worker = fleet.start();
    fleet.pass(Duration::from_secs(5)).await;
    let refused = worker.handle.pause(&shard(7)).await.unwrap_err().to_string();
    assert!(refused.contains("does not run shard shardId-000000000007"), "{refused}");
    worker.handle.shutdown().await;
    let refused = worker.handle.resume(&shard(0)).await.unwrap_err().to_string();
    assert_eq!(refused, "the worker has stopped");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_exist_is_named() {
    let mut fleet = Fleet::new(1);
    let gone = fleet.engine.create_stream("gone", 1, StreamOptions::unlimited()).unwrap();
    let source: Arc<dyn StreamSource> = Arc::new(gone.source());
    fleet.engine.delete_stream("gone").unwrap();
    let (config, note) = (fleet.config(), fleet.note());
    let error = fleet.start_on(config, source, note).end().await.unwrap_err();
    assert_eq!(error.to_string(), "stream gone was not found");
}

#[tokio::test(start_paused = true)]
async fn effects_are_refused_on_a_table_without_them() {
    let mut fleet = Fleet::new(1);
    let worker = fleet.start();
    let cable: Cable = worker.cable.clone();
    let config = fleet.config().effects(true);
    let source = Arc::new(fleet.stream.source());
    let refused = Scheduler::new(config, Arc::new(cable), source, fleet.note());
    assert!(refused.is_err_and(|error| error.field == "effects"));
}

#[tokio::test(start_paused = true)]
async fn a_table_of_another_id_is_refused() {
    let mut fleet = Fleet::new(1);
    let worker = fleet.start();
    fleet.pass(Duration::from_secs(5)).await;
    worker.handle.shutdown().await;
    let row = kcl_core::protocol::ConditionalWrite::Table(
        kcl_core::protocol::TableWrite::NextGeneration { seen: 0, table_id: "a copy".into() },
    );
    let moved = kcl_core::LeaseTable::write(&fleet.table, &row).await.unwrap();
    assert!(moved.is_won());
    let error = fleet.start().end().await.unwrap_err().to_string();
    assert!(error.contains("bound to table id a copy"), "{error}");
}
