//! The endpoint and the Kinesis source, each against the real client.

mod client;
mod local;
mod polling;
mod raw;
