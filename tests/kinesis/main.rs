//! The endpoint and the Kinesis source, each against the real client.

mod client;
mod fanout;
mod keys;
mod local;
mod polling;
mod producer;
mod raw;
mod settings;
