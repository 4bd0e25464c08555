//! Conformance suites, fault wrappers, simulation and history checkers.

pub mod dynamodb_local;
pub mod history;

pub use dynamodb_local::DynamoDbLocal;
