//! A producer and a sink that answers as a test says.

mod batches;
mod delays;
mod ending;
mod fates;
mod metrics;
mod sink;
mod uplink;
