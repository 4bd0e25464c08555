//! Tables that are bound to something else: refused with the key of the row that says so.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue as V;
use kcl_core::{Config, RecordBatch, Scheduler, SystemClock, WorkerError, closure};
use kcl_lease_dynamo::{DynamoLeaseTable, schema};
use kcl_stream_local::{Engine, Stream, StreamOptions};

use crate::local::table;

fn stream(engine: &Engine, name: &str) -> Stream {
    engine.create_stream(name, 2, StreamOptions::unlimited()).unwrap()
}

fn worker(table: &DynamoLeaseTable, stream: &Stream) -> Scheduler {
    let source = Arc::new(stream.source());
    let nothing = closure::batches(|_: &RecordBatch| Ok(()));
    Scheduler::new(Config::new("app"), Arc::new(table.clone()), source, nothing).unwrap()
}

/// Runs a worker until its shards are bound to rows, and lets it leave.
async fn bind(table: &DynamoLeaseTable, stream: &Stream) {
    let worker = worker(table, stream);
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    while handle.status().shards.len() < 2 {
        assert!(!running.is_finished(), "{:?}", running.await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    handle.shutdown().await;
    running.await.unwrap().unwrap();
}

/// What the table has, row by row.
async fn rows(client: &Client, table: &DynamoLeaseTable) -> Vec<String> {
    let mut rows = Vec::new();
    for name in [table.lease_table_name(), table.coordination_table_name()] {
        let found = client.scan().table_name(name).consistent_read(true).send().await.unwrap();
        let shown = |item: &std::collections::HashMap<String, V>| {
            format!("{:?}", item.iter().collect::<std::collections::BTreeMap<_, _>>())
        };
        rows.extend(found.items().iter().map(shown));
    }
    rows.sort();
    rows
}

#[tokio::test]
async fn a_table_bound_to_another_stream_is_refused_with_the_row_and_left_alone() {
    let Some((client, table)) = table("other-stream").await else { return };
    let engine = Engine::new(Arc::new(SystemClock));
    bind(&table, &stream(&engine, "orders")).await;
    let before = rows(&client, &table).await;
    let refused = worker(&table, &stream(&engine, "returns")).run().await.unwrap_err();
    assert!(matches!(refused, WorkerError::OtherStream { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("STREAM#orders") && said.contains("returns"), "{said}");
    // Not even a lease of the second stream; the worker itself has come and gone.
    let of_workers = |row: &&String| row.contains("WORKER#");
    let after = rows(&client, &table).await;
    let rest = |rows: &[String]| rows.iter().filter(|row| !of_workers(row)).cloned().collect();
    let (before, after): (Vec<_>, Vec<_>) = (rest(&before), rest(&after));
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_stream_made_again_is_refused_with_the_row_that_knows_the_old_one() {
    let Some((_, table)) = table("made-again").await else { return };
    let engine = Engine::new(Arc::new(SystemClock));
    bind(&table, &stream(&engine, "orders")).await;
    engine.delete_stream("orders").unwrap();
    let again = stream(&engine, "orders");
    let refused = worker(&table, &again).run().await.unwrap_err();
    assert!(matches!(refused, WorkerError::StreamRecreated { .. }), "{refused}");
    assert!(refused.to_string().contains("row STREAM#orders"), "{refused}");
}

#[tokio::test]
async fn a_restored_table_is_refused_with_the_row_that_has_another_id() {
    let Some((client, table)) = table("restored").await else { return };
    let engine = Engine::new(Arc::new(SystemClock));
    let orders = stream(&engine, "orders");
    bind(&table, &orders).await;
    // What a backup brings back was written in a table with an id of its own.
    let update = client.update_item().table_name(table.coordination_table_name());
    let update = update.key(schema::ROW_KEY, V::S(schema::TABLE.into()));
    let update = update.update_expression("SET #id = :id");
    let update = update.expression_attribute_names("#id", schema::TABLE_ID);
    let another = V::S("the-table-of-the-backup".into());
    update.expression_attribute_values(":id", another).send().await.unwrap();
    let refused = worker(&table, &orders).run().await.unwrap_err();
    assert!(matches!(refused, WorkerError::Table(_)), "{refused}");
    let said = refused.to_string();
    for word in ["row TABLE ", "the-table-of-the-backup", "kcl table accept-restored"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}
