//! The endpoint and the Kinesis source, each against the real client.

mod answers;
mod asked;
mod budget;
mod client;
mod contested;
mod fanout;
mod flights;
mod flights_job;
mod harness;
mod identity;
mod kcl_built;
mod kcl_serve;
mod keys;
mod local;
mod log;
mod long_fleet;
mod long_run;
mod on_engine;
mod one_layer;
mod policies;
mod polling;
mod producer;
mod programs;
mod pushed;
mod raw;
mod recreated;
mod scripted;
mod sealed;
mod settings;
mod several;
mod sharing;
mod silent;
#[cfg(feature = "third-party")]
mod third_party;
mod tls;
mod without;
