//! What a worker holds, and which fences it may never hold again.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Fence, LeaseKey, WorkerId};
use crate::rows::{HeldDigest, Lease};
use crate::rules::{Mutant, Rules};

/// The leases one registration holds, and its spent fences.
///
/// Once an ownership write conditioned on fence F was sent, whatever became of it, or a lease was
/// let go at F, every fence up to F is *spent*: the worker never holds the lease there again. An
/// unknown outcome is thus never guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Holdings {
    held: BTreeMap<LeaseKey, Fence>,
    spent: BTreeMap<LeaseKey, Fence>,
    parked: BTreeSet<LeaseKey>,
    rules: Rules,
}

/// What a lease row, read strongly or returned by an own write, means to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Held already, under this very fence.
    Held,
    /// Names this worker at an unspent fence: hold it.
    Hold,
    /// Names this worker at a spent fence: only a new fence makes it safe, and kills a write of
    /// its own that may still arrive.
    Adopt,
    /// Somebody else's, or nobody's.
    NotMine,
    /// Finished.
    Ended,
}

impl Holdings {
    /// The same under other rules.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }
    /// The rules these decisions follow.
    pub fn rules(&self) -> Rules {
        self.rules
    }
    /// The fence under which a lease is held.
    pub fn fence(&self, key: &LeaseKey) -> Option<Fence> {
        self.held.get(key).copied()
    }
    /// Every held lease with its fence, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&LeaseKey, Fence)> {
        self.held.iter().map(|(key, fence)| (key, *fence))
    }
    /// How many leases are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }
    /// True if none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
    /// How many held leases count as load: parked ones do not.
    pub fn load(&self) -> u32 {
        let loaded = self.held.keys().filter(|key| !self.parked.contains(*key)).count();
        u32::try_from(loaded).unwrap_or(u32::MAX)
    }
    /// Notes that a held lease is parked, or no longer.
    pub fn set_parked(&mut self, key: &LeaseKey, parked: bool) {
        if parked && self.held.contains_key(key) {
            self.parked.insert(key.clone());
        } else {
            self.parked.remove(key);
        }
    }
    /// The fingerprint that goes into the worker's row.
    pub fn digest(&self) -> HeldDigest {
        let mut digest = HeldDigest::default();
        self.iter().for_each(|(key, fence)| digest.add(key, fence));
        digest
    }
    /// True if this fence of the lease must never be held again.
    pub fn is_spent(&self, key: &LeaseKey, fence: Fence) -> bool {
        self.spent.get(key).is_some_and(|spent| fence <= *spent)
    }
    /// Spends every fence up to this one; true if the lease was held under one of them, and no
    /// longer is.
    pub fn spend(&mut self, key: &LeaseKey, fence: Fence) -> bool {
        let spent = self.spent.entry(key.clone()).or_insert(fence);
        *spent = (*spent).max(fence);
        let dropped = self.held.get(key).is_some_and(|held| *held <= fence);
        if dropped {
            self.held.remove(key);
            self.parked.remove(key);
        }
        dropped
    }
    /// A hand-over, a release or an end of a lease held at this fence is about to be sent: spends
    /// the fence, whatever will become of the write.
    pub fn lets_go(&mut self, key: &LeaseKey, fence: Fence) {
        if !self.rules.breaks(Mutant::HeldDuringHandOver) {
            self.spend(key, fence);
        }
    }
    /// A revocation of the lease at this fence was seen: spends it, whether the lease is held or
    /// its answer is still on the way. True if it was held.
    pub fn revoke(&mut self, key: &LeaseKey, fence: Fence) -> bool {
        if self.rules.breaks(Mutant::RevokeWithoutFence) && self.fence(key).is_none() {
            return false;
        }
        self.spend(key, fence)
    }
    /// Holds a lease; false, and nothing changes, if the fence is spent.
    pub fn hold(&mut self, key: &LeaseKey, fence: Fence) -> bool {
        let rash = self.rules.breaks(Mutant::HoldAtSpentFence);
        let allowed = rash || !self.is_spent(key, fence);
        if allowed {
            self.held.insert(key.clone(), fence);
        }
        allowed
    }
    /// What a row means to the worker `me`.
    pub fn standing(&self, row: &Lease, me: &WorkerId) -> Standing {
        if row.is_ended() {
            Standing::Ended
        } else if row.owner.as_ref() != Some(me) {
            Standing::NotMine
        } else if self.is_spent(&row.key, row.fence) && !self.rules.breaks(Mutant::HoldAtSpentFence)
        {
            Standing::Adopt
        } else if self.fence(&row.key) == Some(row.fence) {
            Standing::Held
        } else {
            Standing::Hold
        }
    }
}
