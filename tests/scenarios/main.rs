//! The promises of docs/protocol.md, each told as a story on a paused clock.

mod budget;
mod data;
mod doors;
mod fleet;
mod liveness;
mod moving;
mod streams;
mod syncing;
mod threads;
