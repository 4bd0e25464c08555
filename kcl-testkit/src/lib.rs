//! Conformance suites, fault wrappers, simulation and history checkers.

pub mod conformance;
pub mod history;
#[cfg(feature = "model")]
pub mod model;
pub mod sim;
