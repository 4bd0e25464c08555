//! Simulation: the real scheduler, consumers, engine and lease table on one thread and a paused
//! clock, under faults drawn from a seed. First faults, then a time of healing in which the fleet
//! must come to rest with nothing lost.

mod alone;
mod application;
mod campaign;
mod clock;
pub mod draw;
mod effects;
mod everyday;
mod failure;
pub mod faults;
mod fleet;
mod gate;
mod habits;
mod judge;
mod making;
mod producer;
mod replay;
mod run;
mod source;
mod table;
mod work;
mod worker;
mod world;

pub use application::{Application, run_application};
pub use campaign::{Campaign, Failed, Outcome, search, silence_simulated_panics, simulate};
pub use failure::{Failure, SearchError};
pub use faults::{Kind, Struck};
pub use run::{Options, Report, run};
pub use work::{End, Host, Put};
