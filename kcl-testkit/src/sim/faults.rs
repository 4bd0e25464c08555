//! What can go wrong, which of it this seed has switched on, and what did.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::Clock;
use kcl_core::protocol::Moment;

use super::draw::Draws;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A request to the table is lost before it applied; its sender does not know.
    LostRequest,
    /// The reply of a request that applied is lost.
    LostReply,
    /// A request applies after its sender has given up on it.
    AppliedLate,
    /// A request applies twice.
    AppliedTwice,
    /// A request, or its reply, takes long.
    Delayed,
    /// The table asks for fewer requests.
    Throttled,
    /// The table cannot be reached by anybody for a while.
    Outage,
    /// A transaction of somebody else's holds the row.
    Conflict,
    /// Somebody deletes a row by hand.
    RowDeleted,
    /// The stream refuses a read for now.
    SourceThrottled,
    /// A reader loses its place.
    ReaderExpired,
    /// A read brings nothing although there is something.
    EmptyPage,
    /// A read takes long.
    SlowRead,
    /// A listing lags behind.
    StaleListing,
    /// A worker is killed without a word.
    Crash,
    /// A worker stands still for a while; replies to it queue up.
    Pause,
    /// A worker's clock runs apart.
    Drift,
    /// A worker leaves on purpose.
    Leave,
    /// A processor takes long.
    SlowProcessor,
    /// A processor fails.
    FailingProcessor,
    /// A processor panics.
    PanickingProcessor,
    /// A shard is split, or two are merged.
    Reshard,
    /// The children of a shard that has ended are listed late.
    LateChildren,
    /// Retention passes a reader that lags.
    Trim,
    /// A worker sleeps for long, as its machine does; its connections are gone when it wakes.
    Suspend,
    /// A second worker of the same name runs at the same time.
    Twin,
    /// Somebody drains a shard, or pauses it.
    Command,
    /// A processor does not return.
    StuckProcessor,
    /// One record makes every processor fail, until somebody mends them.
    PoisonedRecord,
    /// A scan goes through the table slowly: some rows are older than others.
    StaleScan,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 30] = [
        Self::LostRequest,
        Self::LostReply,
        Self::AppliedLate,
        Self::AppliedTwice,
        Self::Delayed,
        Self::Throttled,
        Self::Outage,
        Self::Conflict,
        Self::RowDeleted,
        Self::SourceThrottled,
        Self::ReaderExpired,
        Self::EmptyPage,
        Self::SlowRead,
        Self::StaleListing,
        Self::Crash,
        Self::Pause,
        Self::Drift,
        Self::Leave,
        Self::SlowProcessor,
        Self::FailingProcessor,
        Self::PanickingProcessor,
        Self::Reshard,
        Self::LateChildren,
        Self::Trim,
        Self::Suspend,
        Self::Twin,
        Self::Command,
        Self::StuckProcessor,
        Self::PoisonedRecord,
        Self::StaleScan,
    ];
}

/// A fault that struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struck {
    /// When, in true time.
    pub at: Moment,
    /// What.
    pub kind: Kind,
    /// Whom: a place in the fleet with the number of its worker, a shard, the stream, the table.
    pub actor: String,
    /// The number by which it can be left out.
    pub id: u64,
}

impl fmt::Display for Struck {
    /// One line of a timeline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, kind, actor, id } = self;
        write!(f, "{:>9.3}  ** {kind:?} strikes {actor} ({id:#018x})", at.0.as_secs_f64())
    }
}

/// The faults of one run.
#[derive(Clone)]
pub struct Faults {
    draws: Arc<Draws>,
    clock: Arc<dyn Clock>,
    /// Faults strike before this moment only.
    until: Moment,
    /// Of each kind, in the order of [`Kind::ALL`].
    switches: Arc<[Switch]>,
    struck: Arc<Mutex<Vec<Struck>>>,
}

/// What a seed draws for a kind, once: a run asks for faults tens of thousands of times.
struct Switch {
    /// Its name, of which its faults are drawn.
    name: String,
    /// Each seed leaves out about half of the kinds, so that rare combinations come up.
    is_on: bool,
}

impl Switch {
    fn of(kind: Kind, draws: &Draws) -> Self {
        let name = format!("{kind:?}");
        let is_on = draws.below("kinds", &name, 0, 2) == 0;
        Self { name, is_on }
    }
}

impl Faults {
    /// The faults of a seed, until a moment of this clock.
    pub fn new(draws: Draws, clock: Arc<dyn Clock>, until: Moment) -> Self {
        let switches = Kind::ALL.map(|kind| Switch::of(kind, &draws)).into();
        Self { draws: Arc::new(draws), clock, until, switches, struck: Arc::default() }
    }
    /// True time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
    /// The choices behind them.
    pub fn draws(&self) -> &Draws {
        &self.draws
    }
    /// Is this kind among those of the seed?
    pub fn is_on(&self, kind: Kind) -> bool {
        self.switch(kind).is_on
    }
    /// Does this kind strike the actor now? The number names the fault.
    pub fn strike(&self, kind: Kind, actor: &str, which: u64, permille: u64) -> Option<u64> {
        let id = self.drawn(kind, actor, which, permille)?;
        self.note(kind, actor, id);
        Some(id)
    }
    /// Like [`Faults::strike`] for what keeps striking the same thing: noted the first time only.
    pub fn haunts(&self, kind: Kind, actor: &str, which: u64, permille: u64) -> bool {
        let Some(id) = self.drawn(kind, actor, which, permille) else { return false };
        self.note_once(kind, actor, id);
        true
    }
    /// Like [`Faults::haunts`] for what an actor is born with, and keeps when faults are over.
    pub fn is_born_with(&self, kind: Kind, actor: &str) -> bool {
        let Switch { name, is_on } = self.switch(kind);
        let Some(id) = self.draws.strikes(actor, name, 0, 1000).filter(|_| *is_on) else {
            return false;
        };
        self.note_once(kind, actor, id);
        true
    }
    /// Like [`Faults::strike`] for what may turn out to be impossible: whoever asks notes it once
    /// it was done.
    pub(super) fn drawn(&self, kind: Kind, actor: &str, which: u64, permille: u64) -> Option<u64> {
        let Switch { name, is_on } = self.switch(kind);
        if !is_on {
            return None;
        }
        let id = self.draws.strikes(actor, name, which, permille)?;
        self.are_on().then_some(id)
    }
    fn switch(&self, kind: Kind) -> &Switch {
        &self.switches[kind as usize]
    }
    /// When faults end.
    pub fn until(&self) -> Moment {
        self.until
    }
    /// What struck so far, in order.
    pub fn struck(&self) -> Vec<Struck> {
        self.all().clone()
    }
    /// How often each kind struck.
    pub fn by_kind(&self) -> BTreeMap<Kind, usize> {
        let mut counts = BTreeMap::new();
        self.struck().into_iter().for_each(|struck| *counts.entry(struck.kind).or_default() += 1);
        counts
    }
    /// Notes what keeps striking, the first time only.
    pub(super) fn note_once(&self, kind: Kind, actor: &str, id: u64) {
        let is_noted = self.all().iter().any(|noted| (noted.kind, noted.id) == (kind, id));
        if !is_noted {
            self.note(kind, actor, id);
        }
    }
    /// Notes that a fault struck.
    pub(super) fn note(&self, kind: Kind, actor: &str, id: u64) {
        let at = self.clock.monotonic();
        self.all().push(Struck { at, kind, actor: actor.to_owned(), id });
    }
    fn all(&self) -> MutexGuard<'_, Vec<Struck>> {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// True while faults may strike.
    pub fn are_on(&self) -> bool {
        self.clock.monotonic() < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_own_place() {
        let places = Kind::ALL.map(|kind| kind as usize);
        assert!(places.into_iter().eq(0..Kind::ALL.len()), "{places:?}");
    }
}
