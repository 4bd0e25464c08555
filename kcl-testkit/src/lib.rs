//! Conformance suites, fault wrappers, simulation and history checkers.

pub mod history;
pub mod sim;
