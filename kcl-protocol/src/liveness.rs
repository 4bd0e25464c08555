//! When a worker heartbeats, and how long each answered heartbeat lets it act.

use std::time::Duration;

use crate::holdings::Holdings;
use crate::ids::{EntryId, LeaseKey, WorkerId};
use crate::rows::{HeldDigest, InboxEntry, WorkerRow, WorkerState};
use crate::rules::{Mutant, Rules};
use crate::time::{LeaseTiming, Moment};
use crate::writes::{CasOutcome, WorkerChange, WorkerCondition, WorkerWrite};

/// One registration's view of its own life. The runtime sends what [`Liveness::due`] says and
/// reports every answer; nothing here looks at a clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Liveness {
    timing: LeaseTiming,
    acked_count: u64,
    valid_until: Moment,
    acked_sent_at: Moment,
    answered_at: Moment,
    next_at: Moment,
    may_fence_from: Moment,
    pace: Pace,
    rules: Rules,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pace {
    /// A heartbeat every `H`.
    Beating,
    /// No answer for `D`: only reads, so that others can fence this worker.
    Reading,
    /// A read was answered: one heartbeat to find out whether writes are, too.
    Probing,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A heartbeat, now.
    Heartbeat,
    /// A read of this worker's row, now.
    ReadRow,
    /// Nothing before this moment.
    Nothing(Moment),
}

/// What an answered heartbeat means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The worker is valid until [`Liveness::valid_until`]. `lost` names leases a revocation in
    /// the answer took away; `gap` says that this worker's own observations must start anew.
    Valid {
        /// Leases to stop before anything else.
        lost: Vec<LeaseKey>,
        /// More than `1.5 H` lay between this heartbeat and the answered one before.
        gap: bool,
    },
    /// The row is older than one already answered: it was restored. Drop everything and register.
    Restored,
}

impl Liveness {
    /// A worker whose registration, sent at `sent_at`, was answered at `now`.
    pub fn registered(timing: LeaseTiming, sent_at: Moment, now: Moment) -> Self {
        Self {
            timing,
            acked_count: 1,
            valid_until: sent_at + timing.own(),
            acked_sent_at: sent_at,
            answered_at: now,
            next_at: sent_at + timing.heartbeat(),
            may_fence_from: Moment::default(),
            pace: Pace::Beating,
            rules: Rules::ALL,
        }
    }

    /// The same under other rules.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The durations this worker lives by.
    pub fn timing(&self) -> LeaseTiming {
        self.timing
    }

    /// Until when this worker may act.
    pub fn valid_until(&self) -> Moment {
        self.valid_until
    }

    /// Is a worker registered whose put of a new row came to this? Only by a row of its own: an id
    /// is used once.
    pub fn is_registered(put: &CasOutcome, rules: Rules) -> bool {
        put.is_won() || rules.breaks(Mutant::IdUsedTwice)
    }

    /// What to send at `now`.
    pub fn due(&mut self, now: Moment) -> Due {
        let unanswered = now.since(self.answered_at) >= self.timing.duration;
        let stops = unanswered && !self.rules.breaks(Mutant::BeatsWithoutReplies);
        if self.pace == Pace::Beating && stops {
            self.pace = Pace::Reading;
        }
        if now < self.next_at {
            return Due::Nothing(self.next_at);
        }
        match self.pace {
            Pace::Beating | Pace::Probing => Due::Heartbeat,
            Pace::Reading => Due::ReadRow,
        }
    }

    /// Something due was sent at `now`; the next follows `H` later.
    pub fn sent(&mut self, now: Moment) {
        self.next_at = now + self.timing.heartbeat();
    }

    /// Brings the next heartbeat forward (a hint says that the inbox has news).
    pub fn hurry(&mut self, now: Moment) {
        if self.pace == Pace::Beating && self.next_at > now {
            self.next_at = now;
        }
    }

    /// A heartbeat sent at `sent_at` was answered with `row` at `now`. Revocations in the inbox
    /// take effect on `holdings` **before** validity is extended.
    pub fn beat_answered(
        &mut self,
        row: &WorkerRow,
        sent_at: Moment,
        now: Moment,
        holdings: &mut Holdings,
    ) -> Beat {
        if row.heartbeat <= self.acked_count {
            return Beat::Restored;
        }
        let lost = if self.rules.breaks(Mutant::RevokeAfterValidity) {
            Vec::new()
        } else {
            apply_revocations(row, holdings)
        };
        let gap = sent_at.since(self.acked_sent_at) > self.beat_and_a_half()
            && !self.rules.breaks(Mutant::ClosedGapIgnored);
        let was_out = now >= self.valid_until;
        if was_out && !self.rules.breaks(Mutant::FenceAfterOutage) {
            self.may_fence_from = now + self.timing.take() * 3;
        }
        self.acked_count = row.heartbeat;
        self.acked_sent_at = sent_at;
        self.answered_at = now;
        self.pace = Pace::Beating;
        let from = if self.rules.breaks(Mutant::ValidityFromReply) { now } else { sent_at };
        self.valid_until = self.valid_until.max(from + self.timing.own());
        Beat::Valid { lost, gap }
    }

    /// A heartbeat was not answered in time. Its late reply, if any, is thrown away.
    pub fn beat_unanswered(&mut self, now: Moment) {
        if self.pace == Pace::Probing {
            self.pace = Pace::Reading;
            self.next_at = now + self.timing.take() + self.two_beats();
        }
    }

    /// A read of this worker's row was answered: the table can be reached again.
    pub fn read_answered(&mut self, now: Moment) {
        if self.pace == Pace::Reading {
            self.pace = Pace::Probing;
            self.next_at = now;
        }
    }

    /// True if this worker's own view has been interrupted: it must not count the time others
    /// stood still.
    pub fn is_interrupted(&self, now: Moment) -> bool {
        now.since(self.acked_sent_at) >= self.two_beats()
            && !self.rules.breaks(Mutant::OpenGapIgnored)
    }

    /// May this worker declare others dead now? Not while interrupted, and not for `3 D_take`
    /// after its own validity had run out: an outage that hit it hit others too.
    pub fn may_fence(&self, now: Moment) -> bool {
        now < self.valid_until && now >= self.may_fence_from && !self.is_interrupted(now)
    }

    /// Two acked heartbeats this far apart have a missed one between them. The bound is not `2H`:
    /// an outage of little more than `H` can cost this worker one heartbeat and another worker
    /// two, and that one, silent for `3H = D`, must not be fenced for it (the model found it).
    fn beat_and_a_half(&self) -> Duration {
        self.timing.heartbeat() * 3 / 2
    }

    fn two_beats(&self) -> Duration {
        self.timing.heartbeat() * 2
    }
}

/// One heartbeat of `me`: what it carries and holds, and the entries of its inbox that are done
/// with. Applies only while the row is Live, and answers with the row.
pub fn heartbeat(
    rules: Rules,
    me: &WorkerId,
    load: u32,
    digest: HeldDigest,
    done: impl IntoIterator<Item = EntryId>,
) -> WorkerWrite {
    let mut change =
        vec![WorkerChange::Beat, WorkerChange::Load(load), WorkerChange::Digest(digest)];
    change.extend(done.into_iter().map(WorkerChange::InboxRemove));
    let lives = if rules.breaks(Mutant::MissingCanBeat) {
        WorkerCondition::StateIsNotDead
    } else {
        WorkerCondition::StateIs(WorkerState::Live)
    };
    WorkerWrite::Update { id: me.clone(), when: vec![lives], change }
}

/// A revocation spends its fence; the lease is no longer held.
pub fn apply_revocations(row: &WorkerRow, holdings: &mut Holdings) -> Vec<LeaseKey> {
    let mut lost = Vec::new();
    for entry in row.inbox.values() {
        if let InboxEntry::Revoke { lease, fence, .. } = entry
            && holdings.revoke(lease, *fence)
        {
            lost.push(lease.clone());
        }
    }
    lost
}

/// Entries of one's own inbox that may be removed with the next heartbeat: those that an answer
/// has shown and that are done with. A revocation is done once its fence is spent: a worker may
/// have slept through the take and must still find the mark when it wakes.
pub fn removable(
    row: &WorkerRow,
    holdings: &Holdings,
    is_decided: impl Fn(&EntryId) -> bool,
) -> Vec<EntryId> {
    row.inbox
        .iter()
        .filter(|(id, entry)| match entry {
            InboxEntry::Revoke { lease, fence, .. } => holdings.is_spent(lease, *fence),
            InboxEntry::Ask { .. } | InboxEntry::Grant { .. } => is_decided(id),
        })
        .map(|(id, _)| *id)
        .collect()
}
