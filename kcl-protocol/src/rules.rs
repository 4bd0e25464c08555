//! The rules of the protocol that can be broken on purpose, one at a time, to prove that the
//! checks would notice.
//!
//! Without the feature `mutants`, [`Rules`] has no size and [`Rules::breaks`] is always false, so
//! that nothing of this remains in a program.

/// Which rule of the protocol is broken, if any. The default breaks none.
#[cfg(not(feature = "mutants"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules;

/// Which rule of the protocol is broken, if any. The default breaks none.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules(Option<Mutant>);

impl Rules {
    /// Every rule holds.
    #[cfg(not(feature = "mutants"))]
    pub const ALL: Self = Self;
    /// Every rule holds.
    #[cfg(feature = "mutants")]
    pub const ALL: Self = Self(None);
    /// Rules that break in this one place.
    #[cfg(feature = "mutants")]
    pub const fn breaking(mutant: Mutant) -> Self {
        Self(Some(mutant))
    }
    /// True if the rule that excludes this mutant is broken.
    #[cfg(feature = "mutants")]
    #[inline]
    pub fn breaks(self, mutant: Mutant) -> bool {
        self.0 == Some(mutant)
    }
    /// True if the rule that excludes this mutant is broken: never, in this build.
    #[cfg(not(feature = "mutants"))]
    #[inline]
    pub const fn breaks(self, mutant: Mutant) -> bool {
        let _ = mutant;
        false
    }
}

/// A protocol that differs from ours in one place and is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// Validity counts from the reply of a heartbeat, not from before it was sent.
    ValidityFromReply,
    /// Another worker's row is judged by the judge's own lease duration.
    OwnDurationJudgesOthers,
    /// A worker is fenced whether or not its heartbeat still stands.
    FenceWithoutHeartbeat,
    /// A gap between two of one's own answered heartbeats does not restart the windows.
    ClosedGapIgnored,
    /// A gap between one's own last answered heartbeat and now does not restart the windows.
    OpenGapIgnored,
    /// Others are fenced right after one's own outage.
    FenceAfterOutage,
    /// Heartbeats go on although none is answered.
    BeatsWithoutReplies,
    /// A new process registers under an id that was used before.
    IdUsedTwice,
    /// A worker without a row is taken for dead.
    AbsentIsDead,
    /// A row put back as Missing can heartbeat.
    MissingCanBeat,
    /// A take extends validity.
    TakeExtendsValidity,
    /// A live worker's lease is taken without a hand-over.
    LiveLeaseTaken,
    /// A take is conditioned on the owner, not on the fence.
    TakeByOwnerAlone,
    /// A forced take does not wait for `D_take`.
    ForceWithoutWait,
    /// A forced take uses the fence that stands when it is sent, not the one asked for.
    ForceRereadsFence,
    /// A revocation takes effect after the heartbeat that showed it has extended validity.
    RevokeAfterValidity,
    /// The revocation is a change of the ask, not an entry of its own.
    MarkInAsk,
    /// The taker removes the revocation; its owner may not have seen it.
    MarkRemovedByTaker,
    /// A revocation stops what is held and spends no fence.
    RevokeWithoutFence,
    /// A lease may be held again at a spent fence.
    HoldAtSpentFence,
    /// A lease stays held while its hand-over is in flight.
    HeldDuringHandOver,
    /// A hand-over leaves the ordinal as it is.
    HandOverKeepsOrdinal,
    /// An ask is granted whatever fence it names.
    AskAtAnyFence,
    /// Checkpoints carry no ordinal.
    CheckpointWithoutOrdinal,
    /// Effects apply again at the same ordinal.
    EffectsAtSameOrdinal,
    /// Effects are conditioned on the ordinal alone, not on the owner and the fence.
    EffectsAtAnyFence,
    /// A checkpoint is sent while an effect is undecided.
    CheckpointPastEffect,
    /// A new owner starts from a checkpoint it read earlier.
    CachedCheckpoint,
    /// A checkpoint passes a record that was delivered and not acknowledged.
    CheckpointPastUnacked,
    /// A hand-over passes a record that was delivered and not acknowledged.
    HandOverPastUnacked,
    /// A checkpoint erases a prepared one that it has not reached.
    CheckpointErasesPrepared,
    /// The end of a shard and the leases of its children are written one after the other.
    EndInTwoWrites,
    /// The end of a shard leaves the fence as it is.
    EndKeepsFence,
    /// A child starts after its first parent ended.
    ChildAfterOneParent,
    /// A parent without a row counts as ended if any listing lacks it, also one from before the
    /// child.
    AbsentParentHasEnded,
    /// Each worker resolves LATEST for itself.
    LatestResolvedTwice,
}

#[cfg(all(test, not(feature = "mutants")))]
mod tests {
    use super::{Mutant, Rules};

    #[test]
    fn nothing_can_be_broken_without_the_feature() {
        assert_eq!(size_of::<Rules>(), 0);
        assert!(!Rules::ALL.breaks(Mutant::AbsentIsDead));
    }
}
