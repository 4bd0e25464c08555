//! The liveness loop: proves that this worker lives, and watches whether others do.
//!
//! It runs behind nothing: on a thread, a runtime and a connection of its own, so that neither a
//! busy processor nor a slow scan can delay a heartbeat.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_protocol::limits::WATCH_ALL_WORKERS;
use kcl_protocol::liveness::{heartbeat, removable};
use kcl_protocol::watch::watched;
use kcl_protocol::{
    Beat, CasOutcome, ConditionalWrite, Due, Liveness, Moment, Row, RowKey, Watch, WorkerChange,
    WorkerId, WorkerRow, WorkerState, WorkerWrite,
};
use tokio_util::sync::CancellationToken;

use crate::event::EventKind;
use crate::hints::Hint;
use crate::limits::HURRIED_APART;
use crate::registration::{Ended, Registration};
use crate::table::{LeaseTable, Scan, TableError};

/// The loop's state.
pub(crate) struct LivenessLoop {
    registration: Arc<Registration>,
    /// A connection of its own to the same table.
    table: Arc<dyn LeaseTable>,
    max_control_stall: Duration,
    state: Mutex<State>,
}

struct State {
    liveness: Liveness,
    watch: Watch,
    /// Heartbeats have been failing since one that did not.
    beats_fail: bool,
}

impl LivenessLoop {
    pub(crate) fn new(
        registration: Arc<Registration>,
        liveness: Liveness,
        table: Arc<dyn LeaseTable>,
        max_control_stall: Duration,
    ) -> Self {
        let watch = Watch::default().with_rules(registration.rules);
        let state = Mutex::new(State { liveness, watch, beats_fail: false });
        Self { registration, table, max_control_stall, state }
    }

    /// Runs until `stop`, or until the registration is over.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let over = stop.child_token();
        let beats = async {
            self.beats(&over).await;
            over.cancel();
        };
        tokio::join!(beats, self.watches(&over));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn beats(&self, stop: &CancellationToken) {
        let clock = &self.registration.clock;
        let mut last_sent = clock.monotonic();
        while !stop.is_cancelled() {
            let now = clock.monotonic();
            let due = self.state().liveness.due(now);
            let ended = match due {
                Due::Nothing(until) => {
                    tokio::select! { biased;
                        () = stop.cancelled() => {}
                        () = self.registration.hurry.notified() => {
                            clock.sleep_until(last_sent + HURRIED_APART).await;
                            self.state().liveness.hurry(clock.monotonic());
                        }
                        () = clock.sleep_until(until) => {}
                    }
                    None
                }
                _ if self.registration.control_idle_for() > self.max_control_stall => {
                    // A wedged worker must die: others take over what it no longer serves.
                    self.state().liveness.sent(now);
                    self.registration.observe(EventKind::ControlStalled);
                    None
                }
                Due::Heartbeat => {
                    last_sent = now;
                    self.beat().await
                }
                Due::ReadRow => self.read_row().await,
            };
            if let Some(ended) = ended {
                self.registration.drop_all();
                self.registration.change_view(|view| view.ended = Some(ended));
                return;
            }
        }
    }

    async fn beat(&self) -> Option<Ended> {
        let registration = &self.registration;
        let write = self.heartbeat();
        let sent_at = registration.clock.monotonic();
        self.state().liveness.sent(sent_at);
        let patience = registration.timing.heartbeat();
        let answer = registration.within(patience, self.table.write(&write)).await;
        let now = registration.clock.monotonic();
        match answer {
            Some(Ok(CasOutcome::Won(Some(Row::Worker(row))))) => {
                self.beat_answered(row, sent_at, now)
            }
            Some(Ok(CasOutcome::Lost(_))) => Some(Ended::Fenced),
            Some(Err(error)) => self.beat_failed(now, &error.to_string()),
            Some(Ok(CasOutcome::Won(_))) => self.beat_failed(now, "the answer lacks the row"),
            None => self.beat_failed(now, "no answer within a heartbeat"),
        }
    }

    fn beat_failed(&self, now: Moment, error: &str) -> Option<Ended> {
        let was_failing = {
            let mut state = self.state();
            state.liveness.beat_unanswered(now);
            std::mem::replace(&mut state.beats_fail, true)
        };
        if !was_failing {
            let error = error.to_owned();
            self.registration.observe(EventKind::HeartbeatsFail { error });
        }
        None
    }

    /// The heartbeat to send.
    fn heartbeat(&self) -> ConditionalWrite {
        let registration = &self.registration;
        let mine = registration.view().mine;
        let (load, digest, removed) = registration.holdings(|holdings| {
            let removed = registration
                .decided(|decided| removable(&mine, holdings, |entry| decided.contains(entry)));
            (holdings.load(), holdings.digest(), removed)
        });
        let mut write = heartbeat(registration.rules, &registration.me, load, digest, removed);
        if let WorkerWrite::Update { change, .. } = &mut write {
            if mine.list {
                change.push(WorkerChange::List(false));
            }
            let reads = registration.reads();
            if mine.reads != reads {
                change.push(WorkerChange::Reads(reads));
            }
        }
        ConditionalWrite::Worker(write)
    }

    fn beat_answered(&self, row: WorkerRow, sent_at: Moment, now: Moment) -> Option<Ended> {
        let registration = &self.registration;
        let mut state = self.state();
        state.beats_fail = false;
        let beat = registration
            .change_holdings(|holdings| state.liveness.beat_answered(&row, sent_at, now, holdings));
        match beat {
            Beat::Restored => return Some(Ended::Restored),
            Beat::Valid { lost, gap } => {
                if gap {
                    state.watch.restart();
                }
                // Permits of revoked leases ended above, before validity is raised here.
                registration.validity.set(state.liveness.valid_until());
                lost.into_iter()
                    .for_each(|lease| registration.observe(EventKind::Revoked { lease }));
            }
        }
        registration.change_view(|view| {
            // Sticky: the next heartbeat clears the row's mark, maybe before control looked.
            view.list_asked |= row.list;
            view.mine = row.clone();
        });
        // Only now: a control loop that still saw the former row must find its entries decided.
        registration.decided(|decided| decided.retain(|id| row.inbox.contains_key(id)));
        None
    }

    async fn read_row(&self) -> Option<Ended> {
        let registration = &self.registration;
        self.state().liveness.sent(registration.clock.monotonic());
        let key = RowKey::Worker(registration.me.clone());
        let patience = registration.timing.heartbeat();
        match registration.within(patience, self.table.read(&key)).await {
            Some(Ok(Some(Row::Worker(row)))) if row.state == WorkerState::Live => {
                self.state().liveness.read_answered(registration.clock.monotonic());
                if registration.is_undecodable(&registration.me) {
                    registration.saw(row);
                }
                None
            }
            Some(Ok(_)) => Some(Ended::Fenced),
            // Replies that carry the row cannot be read either: writes to it are not repeated.
            Some(Err(TableError::BadRow { .. })) => {
                registration.cannot_read(&registration.me);
                None
            }
            Some(Err(_)) | None => None,
        }
    }

    async fn watches(&self, stop: &CancellationToken) {
        let registration = &self.registration;
        let heartbeat = registration.timing.heartbeat();
        let mut next_scan = registration.clock.monotonic();
        let mut hinted = false;
        let mut heeds_hints_from = next_scan;
        while !stop.is_cancelled() {
            let now = registration.clock.monotonic();
            if now >= next_scan {
                next_scan = now + heartbeat;
                let look = registration.within(heartbeat, self.look(now, hinted));
                hinted = false;
                tokio::select! { biased;
                    () = stop.cancelled() => return,
                    _ = look => {}
                }
            }
            self.fence_the_dead(stop).await;
            let check = self.state().watch.next_check(&registration.me);
            let wake = check.map_or(next_scan, |check| Ord::min(check, next_scan));
            // A worker that is overdue but may not be judged yet must not spin here.
            let earliest = registration.clock.monotonic() + heartbeat / 16;
            tokio::select! { biased;
                () = stop.cancelled() => return,
                () = registration.look.notified() => {
                    // The first hint is heeded at once; a flood costs no more scans than this.
                    registration.clock.sleep_until(heeds_hints_from).await;
                    (next_scan, hinted) = (registration.clock.monotonic(), true);
                    heeds_hints_from = next_scan + heartbeat / 16;
                }
                () = registration.clock.sleep_until(wake.max(earliest)) => {}
            }
        }
    }

    /// Reads everybody, or in a large fleet the ring successors and everybody only every `D` or
    /// when a hint says that somebody is dead.
    async fn look(&self, now: Moment, hinted: bool) {
        let registration = &self.registration;
        let view = registration.view();
        let others = view.workers.values().filter(|row| !row.state.is_dead()).map(|row| &row.id);
        let others = others.filter(|id| **id != registration.me);
        let scan_due = hinted || self.scan_due(now);
        let successors = watched(&registration.me, others.clone());
        if successors.is_none() || !view.scanned || scan_due {
            let Err(error) = self.scan().await else { return };
            let lasts = !error.is_transient();
            registration.cannot_look(error);
            if !lasts {
                return;
            }
        }
        // One row that nobody can read must not end the watch over all the others.
        for id in successors.unwrap_or_else(|| others.cloned().collect()) {
            self.look_at(id).await;
        }
    }

    async fn look_at(&self, id: WorkerId) {
        match self.table.read(&RowKey::Worker(id.clone())).await {
            Ok(Some(Row::Worker(row))) => {
                if self.registration.sees_all() {
                    let now = self.registration.clock.monotonic();
                    self.state().watch.observe(&row, now);
                } else {
                    // No scan will tell the control loop, of a death above all.
                    self.saw(row);
                }
            }
            Err(TableError::BadRow { .. }) => self.cannot_read(&id),
            Ok(_) | Err(_) => {}
        }
    }

    /// Nobody acts on it until a person has looked.
    fn cannot_read(&self, id: &WorkerId) {
        self.state().watch.forget(id);
        self.registration.cannot_read(id);
    }

    /// In a large fleet every third look is a scan: one every `D`.
    fn scan_due(&self, now: Moment) -> bool {
        let heartbeat = self.registration.timing.heartbeat().as_nanos().max(1);
        (now.0.as_nanos() / heartbeat).is_multiple_of(3)
    }

    async fn scan(&self) -> Result<(), TableError> {
        let registration = &self.registration;
        let sent_at = registration.clock.monotonic();
        let rows = self.table.scan(Scan::Coordination).await?;
        let now = registration.clock.monotonic();
        let mut workers = BTreeMap::new();
        let mut table = None;
        for row in rows {
            match row {
                Row::Worker(row) => drop(workers.insert(row.id.clone(), row)),
                Row::Table(row) => table = Some(row),
                Row::Stream(_) | Row::Lease(_) => {}
            }
        }
        {
            let mut state = self.state();
            workers.values().for_each(|row| state.watch.observe(row, now));
        }
        registration.looked(|view| {
            view.workers = Arc::new(workers);
            view.scanned_at = sent_at;
            if let Some(table) = table {
                if table.round != view.table.round {
                    view.round_since = now;
                }
                view.table = table;
            }
        });
        Ok(())
    }

    async fn fence_the_dead(&self, stop: &CancellationToken) {
        let registration = &self.registration;
        let fences = {
            let mut state = self.state();
            let State { liveness, watch, .. } = &mut *state;
            watch.fences(&registration.me, liveness, registration.clock.monotonic())
        };
        for fence in fences {
            let write = ConditionalWrite::Worker(fence);
            let key = write.key();
            let answer =
                registration.within(registration.timing.heartbeat(), self.table.write(&write));
            let answer = tokio::select! { biased;
                () = stop.cancelled() => return,
                answer = answer => answer,
            };
            if let (Some(Err(TableError::BadRow { .. })), RowKey::Worker(id)) = (&answer, &key) {
                self.cannot_read(id);
            }
            let Some(Ok(outcome)) = answer else { continue };
            if let (CasOutcome::Lost(None), RowKey::Worker(id)) = (&outcome, &key) {
                self.state().watch.forget(id);
            }
            let won = outcome.is_won();
            let (CasOutcome::Won(Some(Row::Worker(row)))
            | CasOutcome::Lost(Some(Row::Worker(row)))) = outcome
            else {
                continue;
            };
            if won {
                registration.observe(EventKind::FencedOther { worker: row.id.clone() });
                self.tell_others();
            }
            self.saw(row);
        }
    }

    /// Others have a share of the dead worker's leases to take, too.
    fn tell_others(&self) {
        let registration = &self.registration;
        let workers = registration.view().workers;
        let live = workers.values().filter(|row| row.state == WorkerState::Live);
        let others = live.filter(|row| row.id != registration.me);
        for other in others.take(WATCH_ALL_WORKERS) {
            registration.hint(&other.id, Hint::Fenced);
        }
    }

    fn saw(&self, row: WorkerRow) {
        let now = self.registration.clock.monotonic();
        self.state().watch.observe(&row, now);
        self.registration.saw(row);
    }
}
