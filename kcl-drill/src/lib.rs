//! Failover drills: a stream, a lease table behind a proxy that does harm, and a fleet of worker
//! processes that are killed, stopped, cut off and replaced while records flow. At the end
//! everything that was put is compared with everything that was processed, and by whom, and when.
//!
//! Any program that keeps to the [`contract`] can be drilled.

pub mod args;
mod audit;
mod board;
mod child;
mod clients;
pub mod contract;
mod doors;
mod fleet;
mod history;
mod intervals;
mod kinds;
mod ledger;
pub mod limits;
mod measure;
mod plot;
mod print;
mod probe;
mod proxy;
mod record;
mod report;
mod run;
mod scenario;
mod services;
mod sink;
mod stage;
mod stall;
mod verdict;
mod view;
pub mod worker;

pub use child::become_child;
pub use run::run;
