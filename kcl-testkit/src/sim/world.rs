//! The world of a simulation: a stream that is written and resharded, a table, and a fleet that
//! things happen to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::{LeaseKey, Moment, Row, ShardId};
use kcl_core::{Clock, LeaseTable, MemoryDeadLetters, Scan, Shard, StreamSource};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::{Engine, Stream, StreamOptions};

use super::clock::SimClock;
use super::draw::Draws;
use super::everyday::Everyday;
use super::faults::{Faults, Kind};
use super::fleet::{Place, Yard};
use super::habits::Habits;
use super::judge::healed_within;
use super::making::Making;
use super::producer::Producer;
use super::run::{Options, Report};
use super::work::Work;
use crate::history::{Recorder, Violation};

/// What happens to the fleet is decided once a second.
const STEP: Duration = Duration::from_secs(1);
/// The simulated day (Unix milliseconds).
const WALL_MILLIS: u64 = 1_700_000_000_000;
/// Records stop this long before the end, so that all can be delivered.
const DRAIN: Duration = Duration::from_secs(30);
/// No request comes again later than this after it was sent.
const LATEST_APPLY: Duration = Duration::from_secs(10);
/// Dead letters are kept up to here; more are refused and offered again.
const MOST_LETTERS: usize = 10_000;

pub(super) struct World {
    options: Options,
    pub(super) clock: SimClock,
    pub(super) faults: Faults,
    pub(super) recorder: Recorder,
    pub(super) table: MemoryLeaseTable,
    stream: Stream,
    pub(super) yard: Yard,
    pub(super) places: Vec<Place>,
    known_shards: BTreeSet<ShardId>,
    rows_since: BTreeMap<LeaseKey, Moment>,
    pub(super) violations: Vec<Violation>,
    pub(super) producer: Producer,
}

impl World {
    /// Within the runtime that refreshes the clock.
    pub(super) async fn new(
        options: &Options,
        work: Option<Arc<dyn Work>>,
        clock: SimClock,
    ) -> Self {
        clock.start(WALL_MILLIS);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let draws = Draws::new(options.seed).without(options.without.iter().copied());
        let everyday = || Everyday(Habits::of(&draws, options.workers, options.shards));
        let work = work.unwrap_or_else(|| Arc::new(everyday()));
        let faults = Faults::new(draws, shared.clone(), clock.monotonic() + options.faults);
        let recorder = Recorder::new(shared.clone());
        let engine = Engine::new(shared.clone());
        let stream = engine
            .create_stream("simulated", options.shards, StreamOptions::unlimited())
            .unwrap_or_else(|error| panic!("the simulated stream: {error}"));
        let producer = Producer::new(stream.clone(), recorder.clone(), work.wants_put());
        let table = MemoryLeaseTable::new();
        let source: Arc<dyn StreamSource> = Arc::new(stream.source());
        let yard = Yard {
            table: table.clone(),
            source,
            clock: shared,
            faults: faults.clone(),
            recorder: recorder.clone(),
            lease_duration: Duration::from_secs(3),
            #[cfg(feature = "model")]
            rules: options.rules,
            work,
            dead_letters: Arc::new(MemoryDeadLetters::bounded(MOST_LETTERS)),
            seen: Arc::default(),
            making: Making::default(),
        };
        let places = (0..options.workers).map(Place::new).collect();
        let mut world = Self {
            options: options.clone(),
            clock,
            faults,
            recorder,
            table,
            stream,
            yard,
            places,
            known_shards: BTreeSet::new(),
            rows_since: BTreeMap::new(),
            violations: Vec::new(),
            producer,
        };
        world.note_shards().await;
        world
    }

    pub(super) async fn run(mut self) -> Report {
        let started = self.clock.monotonic();
        let calm = started + self.options.faults;
        let end = calm + self.options.healing;
        let healed = calm + healed_within(self.yard.lease_duration);
        let mut is_healed = false;
        let mut step = 0;
        while self.clock.monotonic() < end {
            let now = self.clock.monotonic();
            if now >= healed && !is_healed {
                is_healed = true;
                self.judge_healed(now).await;
            }
            if now < calm {
                self.disturb(step).await;
            }
            self.tend(now >= calm).await;
            if now + DRAIN < end {
                self.put(step);
            }
            step += 1;
            self.clock.sleep_until(started + STEP * step).await;
        }
        let history = self.judge(end).await;
        for place in &mut self.places {
            place.crash_all();
        }
        Report {
            seed: self.options.seed,
            violations: self.violations,
            faults: self.faults.by_kind(),
            struck: self.faults.struck(),
            records: self.producer.records(),
            simulated: self.options.faults + self.options.healing,
            history,
        }
    }

    /// A second's records, all at once.
    fn put(&mut self, step: u32) {
        let open = u32::try_from(self.known_shards.len()).unwrap_or(u32::MAX);
        let count = self.options.rate.saturating_mul(self.options.shards.min(open));
        self.producer.put(count, step, &*self.yard.work, self.faults.draws());
    }

    /// Lets faults of the second strike the fleet, the stream and the table.
    async fn disturb(&mut self, step: u32) {
        let second = u64::from(step);
        for place in &mut self.places {
            let strike = |kind, permille| self.faults.strike(kind, place.name(), second, permille);
            if !place.is_filled() {
                continue;
            }
            if let Some(id) = strike(Kind::Crash, 15) {
                place.crash(1 + id % 10);
            } else if let Some(id) = strike(Kind::Leave, 8) {
                place.leave(1 + id % 10);
            } else if let Some(id) = strike(Kind::Pause, 15) {
                place.pause(1 + id % 20);
            } else if let Some(id) = strike(Kind::Suspend, 6) {
                place.suspend(2 + id % 30);
            } else if let Some(id) = self.faults.drawn(Kind::Command, place.name(), second, 20)
                && place.command(id).await
            {
                self.faults.note(Kind::Command, place.name(), id);
            }
            if let Some(id) = self.faults.drawn(Kind::Twin, place.name(), second, 6)
                && place.double(&self.yard, 2 + id % 20)
            {
                self.faults.note(Kind::Twin, place.name(), id);
            }
        }
        if let Some(id) = self.faults.drawn(Kind::Reshard, "stream", second, 40)
            && self.reshard(id).await
        {
            self.faults.note(Kind::Reshard, "stream", id);
        }
        if self.faults.is_on(Kind::RowDeleted) {
            self.note_rows().await;
        }
        if let Some(id) = self.faults.drawn(Kind::RowDeleted, "table", second, 8)
            && self.delete_row(id).await
        {
            self.faults.note(Kind::RowDeleted, "table", id);
        }
    }

    /// Fills empty places, and lets workers go on whose time has come; or all of them.
    async fn tend(&mut self, all: bool) {
        for place in &mut self.places {
            for amiss in place.tend(&self.yard, all).await {
                let (at, what) = (self.clock.monotonic(), format!("{} {amiss}", place.name()));
                self.violations.push(Violation { property: "P6", at, what });
            }
        }
    }

    async fn shards(&self) -> Vec<Shard> {
        self.yard.source.list_shards().await.unwrap_or_default()
    }

    async fn note_shards(&mut self) {
        let shards = self.shards().await;
        self.producer.shards_are(&shards);
        for shard in shards {
            if self.known_shards.insert(shard.id.clone()) {
                self.recorder.shard_made(&shard.id, shard.parents);
            }
        }
    }

    /// True if the engine took it: a shard may be too narrow to split.
    async fn reshard(&mut self, id: u64) -> bool {
        let mut open: Vec<_> =
            self.shards().await.into_iter().filter(|shard| shard.is_open).collect();
        open.sort_by_key(|shard| shard.range);
        let at = usize::try_from(id >> 8).unwrap_or(0) % open.len();
        let is_done = if id.is_multiple_of(2) && open.len() > 2 {
            let pair = at.min(open.len() - 2);
            self.stream.merge_shards(&open[pair].id, &open[pair + 1].id).is_ok()
        } else {
            let range = open[at].range;
            let middle = range.start + (range.end - range.start) / 2 + 1;
            self.stream.split_shard(&open[at].id, middle).is_ok()
        };
        self.note_shards().await;
        is_done
    }

    /// Notes since when each lease has a row.
    async fn note_rows(&mut self) {
        let now = self.clock.monotonic();
        for row in self.table.scan(Scan::Leases).await.unwrap_or_default() {
            if let Row::Lease(lease) = row {
                self.rows_since.entry(lease.key).or_insert(now);
            }
        }
    }

    /// True if there was one.
    async fn delete_row(&mut self, id: u64) -> bool {
        let scope = if id.is_multiple_of(2) { Scan::Leases } else { Scan::Coordination };
        let rows = self.table.scan(scope).await.unwrap_or_default();
        let synced = self.table.scan(Scan::Coordination).await.unwrap_or_default();
        let is_synced =
            synced.iter().any(|row| matches!(row, Row::Stream(stream) if stream.first_sync_done));
        // Before the first sync is noted as done, a missing row is one not made yet. A worker that
        // was slower with it may still make the rows that it saw missing, and one that stands still
        // may have had such a request under way for long: both would make a deleted row anew.
        let now = self.clock.monotonic();
        let is_old = |lease: &LeaseKey| {
            self.rows_since.get(lease).is_some_and(|since| now.since(*since) > LATEST_APPLY)
        };
        let may_go = |row: &&Row| match row {
            Row::Lease(lease) => {
                is_synced && is_old(&lease.key) && !self.yard.making.is_made(&lease.key)
            }
            Row::Worker(_) => true,
            Row::Table(_) | Row::Stream(_) => false,
        };
        let rows: Vec<_> = rows.iter().filter(may_go).collect();
        let Some(row) = rows.get(usize::try_from(id >> 8).unwrap_or(0) % rows.len().max(1)) else {
            return false;
        };
        if let Row::Lease(lease) = row {
            self.recorder.row_deleted(&lease.key);
            self.rows_since.remove(&lease.key);
        }
        self.table.delete_row(&row.key());
        true
    }
}
