//! Checkpoints in two phases: announce where, with state of the application's own, then commit.

use bytes::Bytes;
use kcl_protocol::limits::PREPARED_STATE_BYTES;
use kcl_protocol::{Checkpoint, Position, Prepared};
use tokio::sync::oneshot;

use crate::checkpointer::{CheckpointError, Checkpointer, Entries, PrepareRequest};
use crate::consumer::Acks;

/// A checkpoint that stands prepared in the lease's row. Dropping it leaves it there.
#[derive(Clone, Debug)]
pub struct PreparedCheckpoint {
    checkpointer: Checkpointer,
    position: Position,
}

impl Checkpointer {
    /// Announces a checkpoint at a record that is delivered and not acked, with state for whoever
    /// has to finish the work there: until it is committed or passed, every owner to come finds
    /// both in [`ShardStart::prepared`](crate::ShardStart::prepared). Returns once it is in the
    /// lease table. The checkpoint itself stays where it is.
    ///
    /// One can stand prepared at a time: a new one replaces it. Checkpoints below leave it alone;
    /// one that reaches it, written at the interval, with a hand-over or at the shard's end, is its
    /// commit.
    ///
    /// # Errors
    /// [`CheckpointError::NotDelivered`], [`CheckpointError::AlreadyAcked`],
    /// [`CheckpointError::StateTooLarge`], [`CheckpointError::Refused`]: nothing was written.
    /// [`CheckpointError::LeaseLost`]: it may have been, and then the next owner finds it.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws what was not sent yet; what was sent goes on by itself.
    pub async fn prepare(
        &self,
        position: Position,
        state: impl Into<Bytes>,
    ) -> Result<PreparedCheckpoint, CheckpointError> {
        let state = state.into();
        if state.len() > PREPARED_STATE_BYTES {
            let (bytes, most) = (state.len(), PREPARED_STATE_BYTES);
            return Err(CheckpointError::StateTooLarge { bytes, most });
        }
        let prepared = Prepared { checkpoint: Checkpoint::At(position), state };
        let (answer, decided) = oneshot::channel();
        let mut request = Some(PrepareRequest { prepared, answer });
        loop {
            let settled = self.ledger().settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            {
                let mut entries = self.entries()?;
                require_out(&entries, position)?;
                if entries.prepare.is_none() {
                    entries.prepare = request.take();
                }
            }
            if request.is_none() {
                self.ledger().consumer.wake();
                break;
            }
            settled.await;
        }
        decided.await.unwrap_or_else(|_| Err(self.ledger().lost()))?;
        Ok(PreparedCheckpoint { checkpointer: self.clone(), position })
    }
}

fn require_out(entries: &Entries, position: Position) -> Result<(), CheckpointError> {
    if Checkpoint::At(position) <= entries.acks.watermark() {
        return Err(CheckpointError::AlreadyAcked { position });
    }
    match entries.acks.last_delivered() {
        Some(last) if position <= last => Ok(()),
        _ => Err(CheckpointError::NotDelivered { position }),
    }
}

impl PreparedCheckpoint {
    /// Where it stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Writes the checkpoint, which ends the prepared one; returns once it is in the lease table.
    ///
    /// With [`Acks::OnReturn`] this acks every record up to the position, also if the call returns
    /// an error later. With [`Acks::Explicit`] all of them must be acked before: no checkpoint
    /// passes an unacked record. Waits while effects are undecided. Calling it again is safe.
    ///
    /// # Errors
    /// [`CheckpointError::NotAcked`]: nothing was written, ack and call again.
    /// [`CheckpointError::LeaseLost`], [`CheckpointError::Refused`].
    ///
    /// # Cancel safety
    /// As for [`Checkpointer::checkpoint`].
    pub async fn commit(&self) -> Result<(), CheckpointError> {
        let (ledger, position) = (self.checkpointer.ledger(), self.position);
        {
            let mut entries = self.checkpointer.entries()?;
            let is_acked = Checkpoint::At(position) <= entries.acks.watermark();
            match ledger.mode {
                _ if is_acked => {}
                Acks::OnReturn => {
                    entries.acks.ack_through(position);
                    entries.gate.moved(ledger.clock.monotonic());
                }
                Acks::Explicit => {
                    let first_open = entries.acks.first_open().unwrap_or(position);
                    return Err(CheckpointError::NotAcked { position, first_open });
                }
            }
        }
        self.checkpointer.checkpoint().await
    }
}
