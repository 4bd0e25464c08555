//! Conformance suites, fault wrappers, simulation, history checkers, and DynamoDB Local for tests.
//!
//! The program `sim` is the feature `sim`, on by default. Tests may take the crate with
//! `default-features = false`: the library is whole, and `clap` and `indicatif` are not built.

pub mod conformance;
pub mod dynamodb_local;
mod faulty_sink;
pub mod history;
#[cfg(feature = "model")]
pub mod model;
pub mod sim;

pub use dynamodb_local::DynamoDbLocal;
pub use faulty_sink::{FaultySink, Unordered};
