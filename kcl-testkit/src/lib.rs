//! Conformance suites, fault wrappers, simulation, history checkers, and DynamoDB Local for tests.

pub mod conformance;
pub mod dynamodb_local;
mod faulty_sink;
pub mod history;
#[cfg(feature = "model")]
pub mod model;
pub mod sim;

pub use dynamodb_local::DynamoDbLocal;
pub use faulty_sink::{FaultySink, Unordered};
