//! The control loop: keeps what this worker runs equal to what it holds, and what it holds close
//! to its fair share.
//!
//! One loop owns all state. It never waits for the table: every request is an operation whose end
//! comes back as a [`Done`]. Which lease may be held is decided by `kcl_protocol::Holdings` alone.

mod asks;
mod balance;
#[cfg(feature = "mutants")]
mod broken;
mod exits;
mod inbox;
mod leaving;
mod ops;
mod reconcile;
mod streams;
mod syncing;
mod takes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kcl_protocol::assign::Member;
use kcl_protocol::{EntryId, Lease, LeaseKey, Moment, WorkerId, WorkerState};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::consumer::{Assignment, ConsumerCommand};
use crate::consumers::Consumers;
use crate::event::{EventKind, HoldReason};
use crate::handle::Command;
use crate::hints::{Hint, Inlet};
use crate::permit::Permit;
use crate::registration::Registration;
use crate::scheduler::{Settings, WorkerError};
use crate::streams::{Streams, Synced, Which};

use asks::OpenAsk;
use inbox::AskInHand;
use ops::{Claim, Done, Operation};

/// Why the leases are scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ScanFor {
    /// This worker just registered.
    Start,
    /// Two heartbeats later: whatever nobody took.
    StartRest,
    /// Somebody died: my share of its leases.
    Takeover,
    /// A heartbeat later: whatever is left of them.
    TakeoverRest,
    /// A lease may be tried here again that failed here or was given away.
    AfterBan,
    /// A shard sync is done: there may be leases that nobody owns.
    Assign,
    /// The loads differ.
    Balance,
    /// Somebody found that what I hold and what the rows say differ.
    Compare,
    /// This worker leaves.
    Leave,
    /// This worker won a round of reconciliation.
    Reconcile,
    /// `2H` after a round: disagreements that are still there are real.
    ReconcileAgain,
}

/// What happens to a lease once its consumer has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Hand it over, because of an ask or not.
    Give(WorkerId, Option<EntryId>),
    /// Nobody is there to take it: release it.
    Release,
}

/// Why this worker gave a shard up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GaveUp {
    /// Somebody asked for it: it may come back if the new owner leaves.
    OnRequest,
    /// It does not work here.
    Failed,
}

/// How a registration's control loop ended.
#[derive(Debug)]
pub(crate) enum ControlEnd {
    /// Everything was handed over; the worker is gone on purpose.
    Left,
    /// Others declared it dead: register anew.
    Over,
    /// The worker cannot go on.
    Failed(WorkerError),
}

/// The state of one registration's control loop.
pub(crate) struct Control<'a> {
    registration: Arc<Registration>,
    settings: Arc<Settings>,
    streams: Arc<Streams>,
    consumers: &'a mut Consumers,
    operations: FuturesUnordered<Operation>,
    /// Leases with an operation under way: one at a time.
    busy: BTreeMap<LeaseKey, Again>,
    after: BTreeMap<LeaseKey, After>,
    /// Held, but the consumer of an earlier fence has not returned yet.
    deferred: BTreeMap<LeaseKey, (Lease, Permit, HoldReason, Option<WorkerId>)>,
    timers: BTreeMap<Moment, Vec<Timer>>,
    /// Scans under way, each with whether it was asked for again meanwhile.
    scans: BTreeMap<ScanFor, Again>,
    handled_dead: BTreeSet<WorkerId>,
    in_hand: BTreeMap<EntryId, AskInHand>,
    asks: BTreeMap<EntryId, OpenAsk>,
    balance: balance::Balance,
    /// Shards this worker gave up, and until when it leaves them alone.
    banned: BTreeMap<LeaseKey, (Moment, GaveUp)>,
    reconcile: reconcile::Rounds,
    leaving: Option<leaving::Leaving>,
    failure: Option<WorkerError>,
    /// What to report once the worker has left on account of it.
    parting_error: Option<WorkerError>,
    /// Streams on their way out.
    removals: Vec<streams::Removal>,
    syncing: syncing::Syncing,
}

/// Whether something under way was asked for once more: what is on its way may have looked too
/// early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    No,
    Yes,
}

/// Something to do at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// List the shards and make the leases they need.
    Sync(Which),
    /// Scan the leases.
    Scan(ScanFor),
    /// Take a lease whose revocation has stood long enough.
    Force(EntryId, LeaseKey),
}

impl<'a> Control<'a> {
    pub(crate) fn new(
        registration: Arc<Registration>,
        settings: Arc<Settings>,
        streams: Arc<Streams>,
        consumers: &'a mut Consumers,
    ) -> Self {
        let reconcile = reconcile::Rounds::new(&registration, settings.config.reconcile_every);
        Self {
            registration,
            settings,
            streams,
            consumers,
            operations: FuturesUnordered::new(),
            busy: BTreeMap::new(),
            after: BTreeMap::new(),
            deferred: BTreeMap::new(),
            timers: BTreeMap::new(),
            scans: BTreeMap::new(),
            handled_dead: BTreeSet::new(),
            in_hand: BTreeMap::new(),
            asks: BTreeMap::new(),
            balance: balance::Balance::default(),
            banned: BTreeMap::new(),
            reconcile,
            leaving: None,
            failure: None,
            parting_error: None,
            removals: Vec::new(),
            syncing: syncing::Syncing::default(),
        }
    }

    /// Runs until the worker has left, is declared dead, or cannot go on.
    pub(crate) async fn run(
        mut self,
        commands: &mut mpsc::Receiver<Command>,
        shutdown: &CancellationToken,
    ) -> ControlEnd {
        let registration = Arc::clone(&self.registration);
        let mut inlet = Inlet::open(&registration.me, self.settings.config.hints);
        self.start();
        loop {
            if let Some(end) = self.end() {
                return end;
            }
            if let Some(error) = registration.never_sees() {
                // Without a first look there is no plan, and no other way to leave.
                if self.consumers.is_empty() {
                    registration.leave_at_once().await;
                }
                return ControlEnd::Failed(WorkerError::Table(error));
            }
            let wake = self.next_wake();
            tokio::select! { biased;
                () = registration.news.notified() => self.on_news(),
                Some(done) = self.operations.next(), if !self.operations.is_empty() => {
                    self.on_done(done);
                }
                stopped = self.consumers.stopped() => self.on_stopped(stopped),
                Some(hint) = inlet.next() => self.on_hint(hint),
                Some(command) = commands.recv() => self.on_command(command),
                () = shutdown.cancelled(), if self.leaving.is_none() => self.leave(),
                () = registration.clock.sleep_until(wake) => {}
            }
            registration.control_ticks();
            self.on_time();
        }
    }

    fn start(&mut self) {
        let jitter = self.registration.random.up_to(self.heartbeat());
        self.at(jitter, Timer::Sync(Which::All));
    }

    fn end(&mut self) -> Option<ControlEnd> {
        if let Some(error) = self.failure.take() {
            return Some(ControlEnd::Failed(error));
        }
        let end = match self.registration.view().ended {
            Some(_) => ControlEnd::Over,
            None if self.has_left() => ControlEnd::Left,
            None => return None,
        };
        // Fenced while it left, it must not register anew either.
        Some(self.parting_error.take().map_or(end, ControlEnd::Failed))
    }

    fn heartbeat(&self) -> Duration {
        self.registration.timing.heartbeat()
    }
    fn now(&self) -> Moment {
        self.registration.clock.monotonic()
    }
    fn at(&mut self, delay: Duration, timer: Timer) {
        let at = self.now() + delay;
        self.timers.entry(at).or_default().push(timer);
    }

    fn synced(&mut self, synced: Synced) {
        self.sync_ended(synced);
        if !self.streams.are_listed() {
            // Without a listing nobody can tell a finished parent from a missing one.
            return;
        }
        if self.is_started() {
            self.scan(ScanFor::Assign);
        } else {
            self.scan(ScanFor::Start);
            self.at(self.heartbeat() * 2, Timer::Scan(ScanFor::StartRest));
        }
    }

    /// At least once a quarter heartbeat, so that what has no bell of its own is seen in time.
    fn next_wake(&self) -> Moment {
        let tick = self.now() + self.heartbeat() / 4;
        self.timers.keys().next().map_or(tick, |timer| Ord::min(*timer, tick))
    }

    fn on_time(&mut self) {
        let now = self.now();
        while let Some(entry) = self.timers.first_entry().filter(|entry| *entry.key() <= now) {
            for timer in entry.remove() {
                match timer {
                    Timer::Sync(Which::All) => self.sync_streams(),
                    Timer::Sync(Which::Owed) => self.sync_owed(),
                    Timer::Scan(purpose) => self.scan(purpose),
                    Timer::Force(ask, key) => self.force_take(ask, &key),
                }
            }
        }
        self.banned.retain(|_, (until, _)| now < *until);
        self.note_parked();
        self.tend_asks();
        self.tend_balance();
        self.tend_rounds();
        self.tend_removals();
        self.tend_leaving();
    }

    fn note_parked(&mut self) {
        let parked: Vec<_> =
            self.consumers.parked().map(|(key, parked)| (key.clone(), parked)).collect();
        self.registration.change_holdings(|holdings| {
            parked.iter().for_each(|(key, parked)| holdings.set_parked(key, *parked));
        });
    }

    /// The liveness loop saw something: an answered heartbeat, other workers, a death.
    fn on_news(&mut self) {
        let view = self.registration.view();
        if view.ended.is_some() {
            return;
        }
        self.read_inbox(&view.mine);
        if view.list_asked {
            self.registration.change_view(|view| view.list_asked = false);
            self.scan(ScanFor::Compare);
        }
        let died = view.workers.values().filter(|row| row.state.is_dead());
        let fresh: Vec<_> = died
            .filter(|row| !self.handled_dead.contains(&row.id))
            .map(|row| row.id.clone())
            .collect();
        if !fresh.is_empty() && self.is_started() {
            self.handled_dead.extend(fresh);
            self.scan(ScanFor::Takeover);
            self.at(self.heartbeat(), Timer::Scan(ScanFor::TakeoverRest));
        }
        self.note_dead(&view);
        self.observe_round(&view);
    }

    fn on_hint(&mut self, hint: Hint) {
        match hint {
            Hint::Inbox => self.registration.hurry.notify_one(),
            Hint::Fenced => self.registration.look.notify_one(),
            Hint::Wake { lease, fence } => {
                if self.registration.holdings(|held| held.fence(&lease) < Some(fence)) {
                    self.claim(&lease, Claim::Read, HoldReason::HandedOver, None);
                }
            }
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Claimed { key, reason, from, won } => self.claimed(key, reason, from, won),
            Done::LetGo { key, ask, outcome } => self.was_let_go(key, ask, outcome),
            Done::Ended { key, ready } => self.ended(&key, ready),
            Done::NotDropped(lease) => self.not_dropped(lease),
            Done::Scanned { purpose, leases } => self.scanned(purpose, leases),
            Done::Asker { ask, row } => self.decide_ask(ask, row.as_ref()),
            Done::Asked { ask, sent } => self.asked(ask, sent),
            Done::Revoked { ask, key, stands_since } => self.revoked(ask, key, stands_since),
            Done::Synced(synced) => self.synced(synced),
            Done::Remade => self.scan(ScanFor::Assign),
            Done::Bound { bound, answer } => self.stream_bound(bound, answer),
            Done::Failed(error) => self.fail(WorkerError::Table(error)),
            Done::Nothing => {}
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Drain(key) => self.give_up(&key),
            Command::Pause(key) => self.tell(&key, ConsumerCommand::Pause),
            Command::Resume(key) => self.tell(&key, ConsumerCommand::Resume),
            Command::AddStream(request, answer) => self.add_stream(request, answer),
            Command::RemoveStream(name, answer) => self.remove_stream(&name, answer),
        }
    }

    /// One that has just stopped hears nothing.
    fn tell(&self, key: &LeaseKey, command: ConsumerCommand) {
        self.consumers.command(key, command);
    }

    /// Notes that nothing is under way any more for a lease; reads it again if somebody asked.
    fn settle(&mut self, key: &LeaseKey, won: bool) {
        if self.busy.remove(key) == Some(Again::Yes) && !won {
            self.claim(key, Claim::Read, HoldReason::HandedOver, None);
        }
    }

    fn fail(&mut self, error: WorkerError) {
        tracing::error!(%error, "the worker cannot go on");
        self.failure.get_or_insert(error);
    }

    /// Starts the consumer of a lease that is held now.
    fn run_lease(
        &mut self,
        lease: Lease,
        permit: Permit,
        reason: HoldReason,
        from: Option<WorkerId>,
    ) {
        let key = lease.key.clone();
        self.registration.observe(EventKind::LeaseHeld {
            lease: key.clone(),
            fence: permit.fence(),
            from: from.clone(),
            reason,
        });
        if self.is_unwanted(&key) {
            let elsewhere = self.leaving.is_some() || self.streams.find(&key).is_none();
            let to = if elsewhere { self.receiver(&key) } else { None };
            return self.let_go(key, permit.fence(), to, None, None);
        }
        if self.consumers.is_running(&key) {
            self.deferred.insert(key, (lease, permit, reason, from));
            return;
        }
        let Some(stream) = self.streams.find(&key) else {
            return self.give_away(key, permit.fence(), None);
        };
        let assignment = Assignment {
            lease,
            stream: stream.row.name.clone(),
            source: Arc::clone(&stream.source),
            permit,
        };
        let me = &self.registration.me;
        let context = self.settings.consumer_context(Arc::clone(&stream.factory), me);
        self.consumers.start(Arc::new(context), assignment, self.now(), reason, from);
        if self.leaving.is_some() {
            self.let_go_of(&key);
        }
    }

    /// The workers that may hold leases, this one among them.
    fn members(&self) -> Vec<Member> {
        let view = self.registration.view();
        let leaving = self.leaving.is_some();
        let member = |row: &kcl_protocol::WorkerRow| Member {
            id: row.id.clone(),
            draining: row.draining || (row.id == self.registration.me && leaving),
            capacity: row.max_leases,
            reads: match row.id == self.registration.me {
                true => self.registration.reads(),
                false => row.reads.clone(),
            },
        };
        view.workers.values().filter(|row| row.state == WorkerState::Live).map(member).collect()
    }
}
