//! What the example programs share.

pub mod bench;
pub mod flights;
