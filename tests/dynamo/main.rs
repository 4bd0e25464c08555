//! The lease table on DynamoDB against DynamoDB Local:
//! `scripts/dynamodb-local exec -- cargo test -p kcl-tests-dynamo`.

mod bound;
mod broken_rows;
mod budget;
mod canned;
mod choked;
mod conformance;
mod counting;
mod described;
mod draw;
mod effects;
mod faults;
mod foreign_rows;
mod local;
mod lost_replies;
mod own_processor;
mod policies;
mod proxy;
mod races;
mod same_as_model;
mod starter;
mod tables;
mod workers;
