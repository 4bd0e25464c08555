//! How a processor says what is done.

use kcl_protocol::Fence;

/// Acknowledges records of one shard under one fence. Clone it into any task.
#[derive(Clone, Debug)]
pub struct Checkpointer {
    fence: Fence,
}

impl Checkpointer {
    /// The fence it is valid for.
    pub fn fence(&self) -> Fence {
        self.fence
    }
}
