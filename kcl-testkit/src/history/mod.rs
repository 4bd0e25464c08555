//! What happened in a run, recorded as it happened, and the checkers that judge it: one file per
//! property. The simulation asks all of them, the scenario tests and the drills those for which
//! they have evidence.

mod acked;
mod checkpoints;
mod delivered;
mod drained;
mod dropped;
mod effects;
mod held;
mod letters;
mod order;
mod overlap;
mod ownership;
mod parked;
mod passed;
mod prepared;
mod recorder;
mod rest;
mod rows;
mod tiled;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;

use kcl_core::Event;
use kcl_core::protocol::{
    Checkpoint, Fence, Lease, LeaseKey, Moment, Ordinal, Position, Prepared, ShardId, WorkerId,
};

pub use acked::no_checkpoint_passes_an_unacked_record;
pub use checkpoints::checkpoints_only_rise;
pub use delivered::every_record_is_delivered;
pub use drained::every_backlog_is_done;
pub use dropped::no_shard_is_dropped;
pub use effects::effects_apply_once_and_never_below_an_accepted_fence;
pub use held::{every_open_shard_is_held_evenly, every_place_has_a_live_worker};
pub use letters::every_record_given_up_on_is_kept;
pub use order::records_come_in_order;
pub use overlap::{no_two_workers_deliver_one_shard, no_worker_delivers_beside_its_own_call};
pub use ownership::{moves, no_fence_has_two_holders};
pub use parked::nothing_parks;
pub use passed::nobody_goes_on_past_an_open_record;
pub use prepared::prepared_checkpoints_are_found_until_reached;
pub use recorder::Recorder;
pub use rest::nothing_moves;
pub use rows::rows_change_as_they_may;
pub use tiled::{leases_tile_the_hash_space, no_shard_ends_before_its_children_have_leases};

/// One entry of a history, at a time that is the same for all workers.
#[derive(Clone, Debug)]
pub struct Entry {
    /// By the recorder's clock, not the worker's.
    pub at: Moment,
    /// What happened.
    pub what: What,
}

/// What an entry tells.
#[derive(Clone, Debug)]
pub enum What {
    /// A worker told of an event.
    Event(Event),
    /// Records were put into the stream at once.
    Put {
        /// The shard that took them.
        shard: ShardId,
        /// Their places there.
        positions: Vec<Position>,
    },
    /// A processor was given these records.
    Given {
        /// The lease it works on.
        lease: LeaseKey,
        /// First, and one per record after it.
        positions: Vec<Position>,
    },
    /// A processor is done with these records.
    Acked {
        /// The lease it works on.
        lease: LeaseKey,
        /// The fence it was made for.
        fence: Fence,
        /// Which.
        positions: Vec<Position>,
    },
    /// Effects of the user's own were applied together with a checkpoint.
    Effects {
        /// The lease.
        lease: LeaseKey,
        /// The fence they were sent under.
        fence: Fence,
        /// The ordinal of their checkpoint.
        ordinal: Ordinal,
    },
    /// A processor asks for a checkpoint to be prepared; its state is the position in decimal.
    Preparing {
        /// The lease.
        lease: LeaseKey,
        /// Where.
        position: Position,
    },
    /// What a processor was told as it was made.
    Found {
        /// The lease.
        lease: LeaseKey,
        /// The fence it was made for.
        fence: Fence,
        /// Where it goes on.
        checkpoint: Checkpoint,
        /// What stands prepared beyond.
        prepared: Option<Prepared>,
    },
    /// Retention has passed these records before they were read: nobody owes them.
    Trimmed {
        /// The shard.
        shard: ShardId,
        /// Which.
        positions: Vec<Position>,
    },
    /// A processor was polled in the middle of a batch.
    Polled {
        /// The lease it works on.
        lease: LeaseKey,
        /// The fence it was made for.
        fence: Fence,
        /// When, by its worker's clock.
        at: Moment,
        /// Until when its worker might act then, by the same clock.
        valid_until: Moment,
    },
    /// Somebody deleted a row by hand: the shard may start over.
    RowDeleted {
        /// The lease.
        lease: LeaseKey,
    },
    /// A request made the row of a lease, or changed what it says, whoever heard of it.
    RowWritten {
        /// The lease.
        lease: LeaseKey,
        /// What the row said; nothing, if there was none.
        before: Option<Standing>,
        /// What it says now.
        after: Standing,
    },
    /// A shard was made with these parents.
    ShardMade {
        /// The shard.
        shard: ShardId,
        /// Its parents.
        parents: Vec<ShardId>,
    },
    /// A processor was called while the same process was still in a call for the same lease.
    CalledTwice {
        /// The lease.
        lease: LeaseKey,
    },
    /// A request deleted the row of a lease, whoever heard of it.
    RowCollected {
        /// The lease.
        lease: LeaseKey,
        /// What the row said.
        before: Standing,
    },
}

/// What the row of a lease says of who may go on, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Who owns it.
    pub owner: Option<WorkerId>,
    /// Under which fence.
    pub fence: Fence,
    /// How far it has come.
    pub checkpoint: Checkpoint,
}

impl Standing {
    /// What this row says.
    pub fn of(row: &Lease) -> Self {
        Self { owner: row.owner.clone(), fence: row.fence, checkpoint: row.checkpoint }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, fence, checkpoint } = self;
        let owner = owner.as_ref().map_or("nobody", WorkerId::as_str);
        write!(f, "{owner} at fence {fence}, {checkpoint}")
    }
}

impl fmt::Display for Entry {
    /// One line of a timeline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3}  {}", self.at.0.as_secs_f64(), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => write!(f, "{event}"),
            Self::Put { shard, positions } => write!(f, "{shard} took {}", ends(positions)),
            Self::Given { lease, positions } => write!(f, "{lease} got {}", ends(positions)),
            Self::Acked { lease, positions, .. } => {
                write!(f, "{lease} is done with {}", ends(positions))
            }
            Self::Effects { lease, fence, ordinal } => {
                write!(f, "effects of {lease} applied at fence {fence}, ordinal {}", ordinal.0)
            }
            Self::Preparing { lease, position } => write!(f, "{lease} prepares {position}"),
            Self::Found { lease, checkpoint, prepared, .. } => {
                let at = prepared.as_ref().map(|prepared| prepared.checkpoint);
                write!(f, "{lease} goes on at {checkpoint}, prepared {at:?}")
            }
            Self::Trimmed { shard, positions } => {
                write!(f, "{shard} was trimmed of {}", ends(positions))
            }
            Self::Polled { lease, fence, .. } => write!(f, "{lease} was polled at fence {fence}"),
            Self::RowDeleted { lease } => write!(f, "somebody deletes the row of {lease}"),
            Self::RowWritten { lease, before: None, after } => {
                write!(f, "the row of {lease} is made: {after}")
            }
            Self::RowWritten { lease, before: Some(before), after } => {
                write!(f, "the row of {lease} goes from {before} to {after}")
            }
            Self::ShardMade { shard, parents } => write!(f, "{shard} is made, of {parents:?}"),
            Self::CalledTwice { lease } => write!(f, "{lease} is processed twice at once"),
            Self::RowCollected { lease, before } => {
                write!(f, "the row of {lease} is deleted, and said {before}")
            }
        }
    }
}

impl What {
    /// A number for each kind of entry or event, and for how many records it is about.
    pub(crate) fn kind(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        discriminant(self).hash(&mut hasher);
        match self {
            Self::Event(event) => discriminant(&event.kind).hash(&mut hasher),
            Self::Put { positions, .. }
            | Self::Given { positions, .. }
            | Self::Acked { positions, .. }
            | Self::Trimmed { positions, .. } => positions.len().hash(&mut hasher),
            _ => {}
        }
        hasher.finish()
    }
}

fn ends(positions: &[Position]) -> String {
    match positions {
        [] => "nothing".to_owned(),
        [one] => one.to_string(),
        [first, .., last] => format!("{} records {first}..={last}", positions.len()),
    }
}

/// A property that a history breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which property, by the name of its promise.
    pub property: &'static str,
    /// When.
    pub at: Moment,
    /// What happened, for people.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} broken at {:?}: {}", self.property, self.at.0, self.what)
    }
}

/// Every safety check on one history. Delivery is checked apart, for it needs the run to have
/// healed.
pub fn check_safety(history: &[Entry]) -> Vec<Violation> {
    let checks = [
        no_two_workers_deliver_one_shard,
        no_worker_delivers_beside_its_own_call,
        records_come_in_order,
        checkpoints_only_rise,
        no_checkpoint_passes_an_unacked_record,
        nobody_goes_on_past_an_open_record,
        effects_apply_once_and_never_below_an_accepted_fence,
        no_fence_has_two_holders,
        prepared_checkpoints_are_found_until_reached,
        rows_change_as_they_may,
        no_shard_ends_before_its_children_have_leases,
    ];
    checks.iter().flat_map(|check| check(history)).collect()
}

/// Entries that are events of workers.
fn events(history: &[Entry]) -> impl Iterator<Item = (Moment, &Event)> {
    history.iter().filter_map(|entry| match &entry.what {
        What::Event(event) => Some((entry.at, event)),
        _ => None,
    })
}

/// The parents of each shard.
fn lineage(history: &[Entry]) -> BTreeMap<ShardId, Vec<ShardId>> {
    let made = history.iter().filter_map(|entry| match &entry.what {
        What::ShardMade { shard, parents } => Some((shard.clone(), parents.clone())),
        _ => None,
    });
    made.collect()
}
