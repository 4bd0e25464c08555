//! The checkpoint gate: which value goes into the lease row next, under which ordinal, and what an
//! answer means. One write is out at a time.
//!
//! Every new value gets a new ordinal, and an ordinal is used again only with its own value, so a
//! late or repeated write never puts an older checkpoint over a newer one.

use std::time::Duration;

use crate::ids::{Fence, LeaseKey, Ordinal, WorkerId};
use crate::rows::{Lease, Parked, Prepared};
use crate::rules::{Mutant, Rules};
use crate::sequence::Checkpoint;
use crate::time::Moment;
use crate::writes::{ConditionalWrite, LeaseChange, LeaseCondition, LeaseWrite};

/// What a lease row should say of the work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// How far the shard is done.
    pub checkpoint: Checkpoint,
    /// A checkpoint announced beyond it, if any.
    pub prepared: Option<Prepared>,
    /// Why nothing is delivered, if so.
    pub parked: Option<Parked>,
}

/// What goes with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carries {
    /// The checkpoint alone.
    CheckpointOnly,
    /// A prepared checkpoint that somebody waits for: repeated as it is until it is decided, so
    /// that he is told what became of it.
    Prepare,
    /// Effects, which must be applied once: only while no write with this ordinal has applied.
    Effects,
}

/// A write that is out, or has to be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pending {
    /// What it says.
    pub progress: Progress,
    /// Its ordinal.
    pub ordinal: Ordinal,
    /// Whether effects go with it.
    pub carries: Carries,
}

/// What a table answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Applied.
    Won,
    /// A condition failed; the row as a strong read shows it.
    Lost(Option<Lease>),
    /// No reply: it may have applied, or may still.
    Unknown,
    /// It did not apply; the same may do later.
    NotApplied,
    /// It did not apply and will not next time.
    Refused,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The pending write is in the row.
    Written(Pending),
    /// Send it, or a newer value, again after a delay.
    Again,
    /// It is given up; nothing of it was applied.
    Refused(Pending),
    /// The lease is another's.
    LeaseLost,
}

/// The gate of one lease under one fence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gate {
    key: LeaseKey,
    owner: WorkerId,
    fence: Fence,
    interval: Duration,
    ordinal: Ordinal,
    written: Progress,
    dirty_since: Option<Moment>,
    pending: Option<Pending>,
    /// The pending write may have applied although no answer said so.
    doubtful: bool,
    rules: Rules,
}

impl Gate {
    /// A gate for a lease as its row stands, which coalesces writes to one per interval.
    pub fn new(lease: &Lease, owner: WorkerId, interval: Duration) -> Self {
        Self {
            key: lease.key.clone(),
            owner,
            fence: lease.fence,
            interval,
            ordinal: lease.ordinal,
            written: Progress {
                checkpoint: lease.checkpoint,
                prepared: lease.prepared.clone(),
                parked: lease.parked.clone(),
            },
            dirty_since: None,
            pending: None,
            doubtful: false,
            rules: Rules::ALL,
        }
    }
    /// The same under other rules.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        // That rule has two guards: ownership writes reset the ordinal, and a new owner counts on
        // from the one it finds.
        let unguarded = rules.breaks(Mutant::HandOverKeepsOrdinal);
        let ordinal = if unguarded { Ordinal(0) } else { self.ordinal };
        Self { rules, ordinal, ..self }
    }
    /// The rules it follows.
    pub fn rules(&self) -> Rules {
        self.rules
    }
    /// The last ordinal used.
    pub fn ordinal(&self) -> Ordinal {
        self.ordinal
    }
    /// What the row says, as far as answers told.
    pub fn written(&self) -> &Progress {
        &self.written
    }
    /// The write that is out or waits to be repeated.
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }
    /// True while an effect may or may not have been applied: no other checkpoint, no hand-over and
    /// no end of this lease may be sent.
    pub fn is_undecided(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.carries == Carries::Effects)
    }
    /// True while the write that is out must be decided before any other: effects, or a prepared
    /// checkpoint.
    pub fn is_fixed(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.carries != Carries::CheckpointOnly)
    }
    /// The prepared checkpoint that the row has, or has as soon as the write that is out applies.
    pub fn prepared(&self) -> Option<&Prepared> {
        match &self.pending {
            Some(pending) if pending.carries == Carries::Prepare => &pending.progress.prepared,
            _ => &self.written.prepared,
        }
        .as_ref()
    }
    /// What the row should say at this checkpoint: what is prepared beyond it stays.
    pub fn progress(&self, checkpoint: Checkpoint, parked: Option<Parked>) -> Progress {
        let prepared = Prepared::beyond(self.written.prepared.clone(), checkpoint, self.rules);
        Progress { checkpoint, prepared, parked }
    }
    /// Notes that the work came further.
    pub fn moved(&mut self, now: Moment) {
        self.dirty_since.get_or_insert(now);
    }
    /// When the next coalesced write is due; `None` while there is nothing to write.
    pub fn due(&self) -> Option<Moment> {
        self.dirty_since.map(|since| since + self.interval)
    }
    /// True if the row does not say this yet.
    pub fn lacks(&self, progress: &Progress) -> bool {
        self.written != *progress
    }

    /// Starts a write of this value. A pending write with effects or of a prepared checkpoint is
    /// repeated as it is, whatever the value; a pending plain one is overtaken by a newer value
    /// under a new ordinal.
    pub fn send(&mut self, progress: Progress, carries: Carries) -> ConditionalWrite {
        let past_effects = self.rules.breaks(Mutant::CheckpointPastEffect);
        let repeat = self.pending.as_ref().is_some_and(|pending| {
            (pending.carries == Carries::Effects && !past_effects)
                || pending.carries == Carries::Prepare
                || (pending.progress == progress && pending.carries == carries)
        });
        if !repeat {
            self.ordinal = self.ordinal.next();
            self.doubtful = false;
            self.pending = Some(Pending { progress, ordinal: self.ordinal, carries });
        }
        if !self.is_fixed() {
            self.dirty_since = None;
        }
        self.render()
    }

    fn render(&self) -> ConditionalWrite {
        let mut when =
            vec![LeaseCondition::OwnerIs(self.owner.clone()), LeaseCondition::FenceIs(self.fence)];
        let mut change = Vec::new();
        if let Some(pending) = &self.pending {
            if pending.carries == Carries::Effects && self.rules.breaks(Mutant::EffectsAtAnyFence) {
                when.clear();
            }
            let strict = pending.carries == Carries::Effects
                && !self.rules.breaks(Mutant::EffectsAtSameOrdinal);
            if strict {
                when.push(LeaseCondition::OrdinalBelow(pending.ordinal));
            } else if !self.rules.breaks(Mutant::CheckpointWithoutOrdinal) {
                when.push(LeaseCondition::OrdinalAtMost(pending.ordinal));
            }
            change.push(LeaseChange::Checkpoint(pending.progress.checkpoint));
            change.push(LeaseChange::Ordinal(pending.ordinal));
            // An overtaken write may have applied, so what `written` says is no reason to leave
            // this out.
            change.push(LeaseChange::Prepared(pending.progress.prepared.clone()));
            change.push(LeaseChange::Parked(pending.progress.parked.clone()));
        }
        ConditionalWrite::Lease(LeaseWrite::Update { key: self.key.clone(), when, change })
    }

    /// Takes in the answer to the write that is out.
    pub fn answered(&mut self, answer: Answer, now: Moment) -> Ruling {
        let Some(pending) = self.pending.clone() else { return Ruling::Again };
        match answer {
            Answer::Won => self.settle(pending),
            Answer::Unknown => {
                self.doubtful = true;
                self.again(now)
            }
            Answer::NotApplied => self.again(now),
            // An earlier try of the same may still apply, and this one will not say whether it did:
            // only a new fence decides that.
            Answer::Refused if self.doubtful && pending.carries != Carries::CheckpointOnly => {
                Ruling::LeaseLost
            }
            Answer::Refused => {
                self.pending = None;
                Ruling::Refused(pending)
            }
            Answer::Lost(Some(row))
                if row.fence == self.fence && row.owner.as_ref() == Some(&self.owner) =>
            {
                self.overtaken(pending, &row, now)
            }
            Answer::Lost(_) => Ruling::LeaseLost,
        }
    }

    /// The condition failed, but the lease is mine: the ordinal was the reason.
    fn overtaken(&mut self, pending: Pending, row: &Lease, now: Moment) -> Ruling {
        match (pending.carries, row.ordinal.cmp(&pending.ordinal)) {
            // An earlier try of the same write has applied.
            (_, std::cmp::Ordering::Equal) => self.settle(pending),
            // The row says less than the condition did a moment ago; ask again.
            (_, std::cmp::Ordering::Less) => self.again(now),
            // Nobody else writes ordinals under my fence, unless a copy of this process runs.
            (_, std::cmp::Ordering::Greater) => Ruling::LeaseLost,
        }
    }

    fn settle(&mut self, pending: Pending) -> Ruling {
        self.written = pending.progress.clone();
        self.pending = None;
        self.doubtful = false;
        Ruling::Written(pending)
    }

    fn again(&mut self, now: Moment) -> Ruling {
        self.moved(now);
        Ruling::Again
    }
}

#[cfg(test)]
mod tests;
