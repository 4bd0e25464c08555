//! Counting flights with a fleet of workers that join, die, leave and follow a resharding.
//!
//! What a reader would copy is in [`processor`] and [`ledger`]; the rest drives and watches it.

pub mod args;
pub mod audit;
pub mod feed;
pub mod figures;
pub mod fleet;
pub mod json_file;
pub mod ledger;
pub mod processor;
pub mod report;
pub mod rows;
pub mod script;
pub mod tracker;
pub mod view;
