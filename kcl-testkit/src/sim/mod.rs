//! Simulation: the real scheduler, consumers, engine and lease table on one thread and a paused
//! clock, under faults drawn from a seed. First faults, then a time of healing in which the fleet
//! must come to rest with nothing lost.

mod campaign;
pub mod draw;
pub mod faults;
mod fleet;
mod gate;
mod habits;
mod judge;
mod processor;
mod run;
mod source;
mod table;
mod world;

pub use campaign::{Campaign, Outcome, shrink, silence_simulated_panics, simulate};
pub use faults::Kind;
pub use run::{Options, Report, run};
