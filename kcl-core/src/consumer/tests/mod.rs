//! A consumer against a scripted shard and a table that can fail, on a paused clock.

mod basics;
mod chance;
mod effects;
mod failures;
mod lag;
mod prepare;
mod quiet;
mod shared;
mod stopping;
mod subrecords;
mod unreadable;
pub(super) mod world;
