//! Failover drills: a stream, a lease table behind a proxy that does harm, and a fleet of worker
//! processes that are killed, stopped, cut off and replaced while records flow. At the end
//! everything that was put is compared with everything that was processed, and by whom, and when.
//!
//! Any program that keeps to the [`contract`] can be drilled.

pub mod args;
mod clients;
pub mod contract;
mod fleet;
mod ledger;
pub mod limits;
mod measure;
mod plot;
mod proxy;
mod record;
mod report;
mod run;
mod scenario;
mod sink;
mod stage;
mod verdict;
pub mod worker;

pub use run::run;
