//! Bad input at the doors of a worker.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::{ConsumerConfig, Scheduler, StreamSource};
use kcl_stream_local::StreamOptions;

use crate::fleet::{Cable, Fleet};

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
    let batch = ConsumerConfig { batch_records: 0, ..ConsumerConfig::default() };
    for (config, name) in [
        (fleet.config().lease_duration(short), "lease_duration is 1ms: expected 300ms to 300s"),
        (fleet.config().worker_name("a b"), "worker_name is \"a b\""),
        (fleet.config().max_leases_per_worker(0), "max_leases_per_worker is 0"),
        (fleet.config().max_control_stall(none), "max_control_stall is 0ns"),
        (fleet.config().reconcile_every(short), "reconcile_every is 1ms"),
        (fleet.config().yield_for(none), "yield_for is 0ns"),
        (fleet.config().shutdown_timeout(none), "shutdown_timeout is 0ns"),
        (fleet.config().consumer(batch), "batch_records is 0"),
        (kcl_core::Config::new(""), "application is \"\""),
    ] {
        let refused = refusal(&fleet, config);
        assert!(refused.starts_with(name), "{refused}");
    }
    assert_eq!(refusal(&fleet, kcl_core::Config::new("fine")), "accepted");
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
