//! The producer's decisions, without I/O and without a clock of its own: records come in, requests
//! go out, answers come back, fates are told.

mod epochs;
mod hold;
mod landing;
mod lanes;
mod pending;
mod request;
mod slab;
mod width;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::Shard;
use kcl_core::protocol::Moment;
use kcl_core::protocol::hash::mix;
use kcl_records::AggregateBuilder;
use tokio::sync::oneshot;

use crate::fate::Fate;
use crate::hot::HotWindow;
use crate::limits::LISTING_INTERVAL;
use crate::metrics::Counters;
use crate::options::{Aggregation, Order, ProducerOptions};
use crate::shard_map::ShardMap;
use crate::sink::{SinkLimits, SinkOrder, SinkRecord};

use epochs::Epochs;
use hold::Hold;
use landing::Stray;
use lanes::{Discipline, Lanes};
pub(crate) use pending::Taken;
use pending::{End, Pending};
use request::Flight;
use slab::{Id, Slab};
use width::Width;

/// Everything a producer holds and knows.
///
/// Invariant: a record in the slab is in exactly one place: waiting in a lane, in a request under
/// way, or in an aggregate that strayed. It leaves by `settle`, which tells its fate.
#[derive(Debug)]
pub(crate) struct Core {
    options: ProducerOptions,
    limits: SinkLimits,
    counters: Arc<Counters>,
    slab: Slab<Pending>,
    lanes: Lanes,
    epochs: Epochs,
    map: ShardMap,
    listing: Listing,
    flights: BTreeMap<FlightId, Flight>,
    next_flight: FlightId,
    /// Aggregates in another shard than meant, until the shards are known anew.
    strays: Vec<Stray>,
    /// How long nothing is sent since whole requests failed.
    hold: Hold,
    width: Width,
    rolls: u64,
    builder: AggregateBuilder,
    hot: Arc<Mutex<HotWindow>>,
}

/// A request under way.
pub(crate) type FlightId = u64;

/// How far the shards are known.
#[derive(Debug, Default)]
struct Listing {
    /// Another listing is wanted.
    is_wanted: bool,
    is_under_way: bool,
    /// Failures since the last that was answered, and when to ask again at the earliest.
    failures: u32,
    due: Moment,
    /// A listing that waits until nothing is under way.
    next: Option<ShardMap>,
}

impl Core {
    pub(crate) fn new(
        options: ProducerOptions,
        limits: SinkLimits,
        counters: Arc<Counters>,
        hot: Arc<Mutex<HotWindow>>,
        seed: u64,
    ) -> Self {
        let aggregates = options.aggregation != Aggregation::Off;
        let discipline = match (options.order, limits.order) {
            (Order::Any, _) => Discipline::Any,
            (Order::ByKey, SinkOrder::WithinShard) if !aggregates => Discipline::ALaneAtATime,
            // Of two aggregates with the same key one may come into the right shard after a
            // reshard and the one before it not, whatever order the sink keeps.
            (Order::ByKey, _) => Discipline::AKeyAtATime,
        };
        Self {
            width: Width::new(options.requests),
            options,
            limits,
            counters,
            slab: Slab::default(),
            lanes: Lanes::new(discipline),
            epochs: Epochs::default(),
            map: ShardMap::default(),
            listing: Listing { is_wanted: true, ..Listing::default() },
            flights: BTreeMap::new(),
            next_flight: 0,
            strays: Vec::new(),
            hold: Hold::default(),
            rolls: mix(seed),
            builder: AggregateBuilder::new(),
            hot,
        }
    }

    /// Takes a record in.
    pub(crate) fn add(&mut self, taken: Taken, now: Moment) {
        let epoch = self.epochs.open();
        let id = self.slab.insert(Pending::new(taken, now, epoch));
        self.lanes.add(&mut self.slab, &self.map, id);
    }

    /// Answers once everything taken in before has its fate; nothing lingers meanwhile.
    pub(crate) fn flush(&mut self, done: oneshot::Sender<()>) {
        self.epochs.flush(done);
    }

    /// True if every record has its fate.
    pub(crate) fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.flights.is_empty() && self.strays.is_empty()
    }

    /// True if the caller is to list the shards now; it answers with [`Core::listed`].
    pub(crate) fn wants_listing(&mut self, now: Moment) -> bool {
        let wants = self.listing.is_wanted && !self.listing.is_under_way && self.listing.due <= now;
        self.listing.is_under_way |= wants;
        wants
    }

    /// The shards, or that they could not be listed.
    pub(crate) fn listed(&mut self, shards: Option<Vec<Shard>>, now: Moment) {
        self.listing.is_under_way = false;
        match shards.filter(|shards| shards.iter().any(|shard| shard.is_open)) {
            Some(shards) => {
                self.listing.is_wanted = false;
                self.listing.failures = 0;
                self.listing.due = now + LISTING_INTERVAL;
                self.listing.next = Some(ShardMap::new(&shards));
            }
            None => {
                self.counters.listing_failed();
                self.listing.failures = self.listing.failures.saturating_add(1);
                self.listing.due = self.delay(self.listing.failures, now);
            }
        }
        self.settle_strays(now);
    }

    /// When there may be something to do without anything coming in.
    pub(crate) fn next_due(&self, now: Moment) -> Option<Moment> {
        let listing = self.listing.is_wanted && !self.listing.is_under_way;
        let listing = listing.then_some(self.listing.due);
        let request = self.may_launch().then(|| self.lanes.next_due(self.linger())).flatten();
        let request = request.map(|due| due.max(self.hold.due()));
        // What is due and was not sent waits for something else.
        let later = |due: &Moment| *due > now;
        [listing, request].into_iter().flatten().filter(later).min()
    }

    /// Gives every record its fate at once: a shutdown came to its deadline. Returns how many were
    /// never put, and of how many that is unknown.
    pub(crate) fn abandon(&mut self) -> (usize, usize) {
        let before = self.counters.snapshot();
        for id in self.lanes.drain(&mut self.slab) {
            self.fail(id, End::ShutDown, "the producer was shut down");
        }
        let flights = std::mem::take(&mut self.flights).into_values();
        let groups = flights.flat_map(|flight| flight.groups);
        let strays = std::mem::take(&mut self.strays).into_iter().map(|stray| stray.group);
        let queues: Vec<_> = groups.chain(strays).map(|group| group.records).collect();
        for id in queues.into_iter().flat_map(|queue| self.slab.ids(queue)).collect::<Vec<_>>() {
            self.fail(id, End::Unknown, "the producer was shut down while it was under way");
        }
        let after = self.counters.snapshot();
        let counted = |after: u64, before: u64| usize::try_from(after - before).unwrap_or(0);
        (
            counted(after.failed_records, before.failed_records),
            counted(after.unknown_records, before.unknown_records),
        )
    }

    fn hot(&self) -> MutexGuard<'_, HotWindow> {
        self.hot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn linger(&self) -> Duration {
        match self.epochs.is_flushing() {
            true => Duration::ZERO,
            false => self.options.linger.unwrap_or(self.limits.linger),
        }
    }

    fn aggregate_bytes(&self) -> Option<usize> {
        match self.options.aggregation {
            Aggregation::Off => None,
            Aggregation::Kpl { bytes } => Some(bytes.min(self.limits.record_bytes)),
        }
    }

    /// When attempt number `attempt` may be followed by another.
    fn delay(&mut self, attempt: u32, now: Moment) -> Moment {
        self.rolls = mix(self.rolls);
        now + self.options.backoff.delay(attempt, self.rolls)
    }

    fn settle(&mut self, id: Id, fate: Fate) {
        if let Some(pending) = self.slab.remove(id) {
            self.counters.settled(&fate, pending.size_bytes());
            let epoch = pending.epoch;
            pending.tell(fate);
            self.epochs.settle(epoch);
        }
    }

    fn fail(&mut self, id: Id, end: End, why: &str) {
        if let Some(pending) = self.slab.get(id) {
            let fate = pending.failure(end, why);
            self.settle(id, fate);
        }
    }
}

/// A request to send.
#[derive(Debug)]
pub(crate) struct Request {
    pub id: FlightId,
    pub records: Vec<SinkRecord>,
}
