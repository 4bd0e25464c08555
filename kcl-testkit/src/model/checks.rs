//! What must be true of every state.

use kcl_protocol::{Checkpoint, Fence, Lease, LeaseKey, Position, RowKey, SequenceNumber};

use super::world::{Request, Token, World};

/// Something that must never happen, seen when a step made it happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// An owner changed and the fence did not rise, or a fence fell.
    FenceStood,
    /// A lease was held at a spent fence.
    SpentFenceHeld,
    /// A checkpoint fell.
    CheckpointFell,
    /// A checkpoint passed the acknowledged watermark.
    CheckpointPastAcked,
    /// A consumer started below a checkpoint that had stood.
    StartedBelow,
    /// One effect applied twice.
    EffectTwice,
    /// A checkpoint passed a record whose effect never applied.
    EffectSkipped,
    /// An effect applied under a lower fence than one before.
    EffectUnderOldFence,
    /// A shard started before all its parents ended.
    ChildEarly,
    /// A shard ended and a child has no lease.
    ChildMissing,
    /// An ended shard was owned again.
    EndUndone,
    /// One ask moved a lease twice.
    MovedTwice,
}

impl Flaw {
    /// The promise of `docs/protocol.md` it breaks.
    pub fn promise(self) -> &'static str {
        match self {
            Self::CheckpointFell | Self::CheckpointPastAcked | Self::StartedBelow => P4,
            Self::FenceStood
            | Self::EffectTwice
            | Self::EffectSkipped
            | Self::EffectUnderOldFence => P5,
            Self::SpentFenceHeld => SPENT,
            Self::ChildEarly => P2,
            Self::ChildMissing | Self::EndUndone => P8,
            Self::MovedTwice => P7,
        }
    }
}

/// Parents before children.
pub const P2: &str = "P2 a child starts only after all its parents ended";
/// One owner.
pub const P3: &str = "P3 no two workers may act on one lease at a time";
/// Checkpoints.
pub const P4: &str = "P4 checkpoints rise, stay at or below the watermark, and bound each start";
/// Fences and effects.
pub const P5: &str = "P5 fences rise with every change of owner; each effect applies once";
/// Nothing moves without cause.
pub const P7: &str = "P7 one ask moves a lease at most once";
/// No hole in the hash space.
pub const P8: &str = "P8 an ended shard's children have leases, and it stays ended";
/// Spent fences.
pub const SPENT: &str = "a lease is never held at a spent fence";
/// Not a promise: a case in which no lease ever moves proves nothing.
pub const MOVES: &str = "some lease comes to another owner, who may act on it";

/// Not a promise: where the stream drops shards, a child must come to start after one of them.
pub const DROPPED: &str = "some child starts though a parent, which the stream dropped, has no row";

/// The checkpoint after so many records.
pub fn at(records: u8) -> Checkpoint {
    if records == 0 {
        return Checkpoint::TrimHorizon;
    }
    let sequence = SequenceNumber::from_parts(0, u128::from(records));
    Checkpoint::At(Position { sequence, subsequence: 0 })
}

/// How many records a checkpoint covers; the end of a shard covers all.
pub fn records(checkpoint: Checkpoint) -> u8 {
    match checkpoint {
        Checkpoint::At(position) => u8::try_from(position.sequence.parts().1).unwrap_or(u8::MAX),
        Checkpoint::ShardEnd => u8::MAX,
        _ => 0,
    }
}

/// True if no lease has two workers that may act on it now.
pub fn has_one_owner(world: &World, keys: &[LeaseKey]) -> bool {
    keys.iter().all(|key| {
        let permitted = |worker: &usize| world.permits(*worker, key);
        (0..world.workers.len()).filter(permitted).count() <= 1
    })
}

/// Notes what a request that just applied did to the leases.
pub fn note_applied(before: &World, world: &mut World, request: &Request, data: bool) {
    if let Token::Effects(record, _, fence) = request.token {
        note_effect(world, record, fence);
    }
    for write in &request.writes {
        let RowKey::Lease(key) = write.key() else { continue };
        let (old, new) = (before.lease(&key).cloned(), world.lease(&key).cloned());
        let (Some(old), Some(new)) = (old, new) else { continue };
        note_ownership(world, &old, &new);
        if new.is_ended() {
            let has_lease = |child| world.lease(&new.key.sibling(child)).is_some();
            if !new.children.iter().all(has_lease) {
                world.seen.flaws.insert(Flaw::ChildMissing);
            }
        }
        if data {
            note_checkpoint(world, records(old.checkpoint), records(new.checkpoint));
        }
        if let Some(id) = request.because
            && old.owner != new.owner
            && !world.seen.moved.insert(id)
        {
            world.seen.flaws.insert(Flaw::MovedTwice);
        }
    }
}

fn note_ownership(world: &mut World, old: &Lease, new: &Lease) {
    if new.fence < old.fence || (old.owner != new.owner && new.fence == old.fence) {
        world.seen.flaws.insert(Flaw::FenceStood);
    }
    if old.is_ended() && (!new.is_ended() || new.owner.is_some()) {
        world.seen.flaws.insert(Flaw::EndUndone);
    }
}

fn note_checkpoint(world: &mut World, old: u8, new: u8) {
    if new < old {
        world.seen.flaws.insert(Flaw::CheckpointFell);
    }
    if new > world.seen.acked {
        world.seen.flaws.insert(Flaw::CheckpointPastAcked);
    }
    let skipped = |record| has_effect(record) && !world.seen.effects.contains_key(&record);
    if (1..=new).any(skipped) {
        world.seen.flaws.insert(Flaw::EffectSkipped);
    }
    world.seen.high = world.seen.high.max(new);
}

fn note_effect(world: &mut World, record: u8, fence: Fence) {
    if world.seen.effects.values().any(|earlier| *earlier > fence) {
        world.seen.flaws.insert(Flaw::EffectUnderOldFence);
    }
    if world.seen.effects.insert(record, fence).is_some() {
        world.seen.flaws.insert(Flaw::EffectTwice);
    }
}

/// True of the records whose processing has an effect in the table.
pub fn has_effect(record: u8) -> bool {
    record == 2
}
