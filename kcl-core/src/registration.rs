//! One registration of a worker: the state its loops share, and how it comes to be.

mod sight;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_protocol::moves::Terms;
use kcl_protocol::{
    CasOutcome, ConditionalWrite, EntryId, Fence, Holdings, LeaseKey, LeaseTiming, Liveness,
    Moment, Reads, Row, RowKey, Rules, TableRow, TableWrite, WorkerChange, WorkerCondition,
    WorkerId, WorkerRow, WorkerState, WorkerWrite,
};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::event::{Event, EventKind, Observer};
use crate::handle::Unreadable;
use crate::hints::{Hint, Hints, Listener, Told};
use crate::permit::{Permit, Validity};
use crate::random::{Random, WorkerIds};
use crate::retry::pause;
use crate::streams::Streams;
use crate::table::{LeaseTable, TableError};

/// What the loops of one registration share. A worker that was fenced drops all of it and makes a
/// new one, under a new id.
pub(crate) struct Registration {
    pub(crate) me: WorkerId,
    pub(crate) timing: LeaseTiming,
    pub(crate) table: Arc<dyn LeaseTable>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) random: Arc<Random>,
    pub(crate) validity: Arc<Validity>,
    /// The rules all its decisions follow.
    pub(crate) rules: Rules,
    /// Rung when a hint asks for an early heartbeat.
    pub(crate) hurry: Notify,
    /// Rung when a hint asks for an early look at the other workers.
    pub(crate) look: Notify,
    /// Rung when `view` has news for the control loop.
    pub(crate) news: Notify,
    hints: Hints,
    held: Mutex<Held>,
    view: Mutex<View>,
    decided: Mutex<BTreeSet<EntryId>>,
    control_ticked: AtomicU64,
    /// The streams this worker reads; its row follows with the next heartbeat.
    reads: Mutex<Reads>,
    unreadable: Unreadable,
}

struct Held {
    holdings: Holdings,
    permits: BTreeMap<LeaseKey, Permit>,
}

impl Held {
    fn nothing(rules: Rules) -> Self {
        Self { holdings: Holdings::default().with_rules(rules), permits: BTreeMap::new() }
    }
}

/// What the liveness loop last saw.
#[derive(Clone)]
pub(crate) struct View {
    /// This worker's row, as its last answered heartbeat returned it.
    pub(crate) mine: WorkerRow,
    /// Every worker row of the last scan, this worker's among them.
    pub(crate) workers: Arc<BTreeMap<WorkerId, WorkerRow>>,
    /// Those of them whose rows do not decode; as if they were leaving.
    pub(crate) undecodable: BTreeSet<WorkerId>,
    /// True once a scan was answered.
    pub(crate) scanned: bool,
    /// When the last answered scan was sent.
    pub(crate) scanned_at: Moment,
    /// The table row of the last scan.
    pub(crate) table: TableRow,
    /// When the table row's round was first seen.
    pub(crate) round_since: Moment,
    /// Another worker asked this one to compare what it holds with the rows.
    pub(crate) list_asked: bool,
    /// Why this registration is over, if it is.
    pub(crate) ended: Option<Ended>,
}

/// Why a registration is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Another worker declared this one dead, or its row was removed.
    Fenced,
    /// The row came back older than it was: the table was restored.
    Restored,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registration {
    /// Looks at the holdings.
    pub(crate) fn holdings<T>(&self, look: impl FnOnce(&Holdings) -> T) -> T {
        look(&locked(&self.held).holdings)
    }
    /// Changes the holdings; permits of leases no longer held end with it.
    pub(crate) fn change_holdings<T>(&self, change: impl FnOnce(&mut Holdings) -> T) -> T {
        let mut held = locked(&self.held);
        let Held { holdings, permits } = &mut *held;
        let answer = change(holdings);
        permits.retain(|key, permit| {
            let kept = holdings.fence(key) == Some(permit.fence());
            if !kept {
                permit.revoke();
            }
            kept
        });
        answer
    }
    /// Holds a lease; `None` if the fence is spent.
    pub(crate) fn hold(&self, key: &LeaseKey, fence: Fence) -> Option<Permit> {
        let mut held = locked(&self.held);
        if !held.holdings.hold(key, fence) {
            return None;
        }
        let permit = Permit::new(key.clone(), fence, Arc::clone(&self.validity));
        if let Some(former) = held.permits.insert(key.clone(), permit.clone()) {
            former.revoke();
        }
        Some(permit)
    }
    /// Spends a fence; see [`Holdings::spend`].
    pub(crate) fn spend(&self, key: &LeaseKey, fence: Fence) -> bool {
        self.change_holdings(|holdings| holdings.spend(key, fence))
    }
    /// Ends every permit: the registration is over.
    pub(crate) fn drop_all(&self) {
        self.validity.set(Moment::default());
        let mut held = locked(&self.held);
        held.permits.values().for_each(Permit::revoke);
        *held = Held::nothing(self.rules);
    }

    /// The table's generation, as far as this worker knows.
    pub(crate) fn generation(&self) -> u64 {
        locked(&self.view).table.generation
    }
    /// What its ownership writes depend on.
    pub(crate) fn terms(&self) -> Terms {
        Terms { generation: self.generation(), rules: self.rules }
    }
    pub(crate) fn view(&self) -> View {
        locked(&self.view).clone()
    }
    pub(crate) fn change_view(&self, change: impl FnOnce(&mut View)) {
        change(&mut locked(&self.view));
        self.news.notify_one();
    }

    /// Tells a worker to look now, if it can be reached.
    pub(crate) fn hint(&self, to: &WorkerId, hint: Hint) -> Told {
        let workers = Arc::clone(&locked(&self.view).workers);
        let address = workers.get(to).and_then(|row| row.address.as_deref());
        self.hints.send(to, address, hint)
    }

    /// Says goodbye for a worker that has held nothing.
    pub(crate) async fn leave_at_once(&self) {
        self.drop_all();
        self.within(self.timing.own(), leave_at_once(&*self.table, &self.me)).await;
    }

    /// The streams this worker reads.
    pub(crate) fn reads(&self) -> Reads {
        locked(&self.reads).clone()
    }
    /// Says from the next heartbeat on, which is now, which streams this worker reads.
    pub(crate) fn set_reads(&self, reads: Reads) {
        *locked(&self.reads) = reads;
        self.hurry.notify_one();
    }

    /// Notes that an inbox entry is done with; a heartbeat removes it.
    pub(crate) fn decide(&self, entry: EntryId) {
        locked(&self.decided).insert(entry);
    }
    /// Looks at the decided entries.
    pub(crate) fn decided<T>(&self, look: impl FnOnce(&mut BTreeSet<EntryId>) -> T) -> T {
        look(&mut locked(&self.decided))
    }

    pub(crate) fn control_ticks(&self) {
        self.control_ticked.store(self.clock.monotonic().as_nanos(), Ordering::Relaxed);
    }
    pub(crate) fn control_idle_for(&self) -> Duration {
        let ticked = Moment::from_nanos(self.control_ticked.load(Ordering::Relaxed));
        self.clock.monotonic().since(ticked)
    }

    pub(crate) fn observe(&self, kind: EventKind) {
        let at = self.clock.monotonic();
        self.observer.observe(&Event { at, worker: self.me.clone(), kind });
    }

    /// Waits for an answer at most so long.
    pub(crate) async fn within<T>(
        &self,
        patience: Duration,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        within(&*self.clock, patience, answer).await
    }
    /// Waits a little, at random, before a repeated request.
    pub(crate) async fn pause(&self, attempt: u32) {
        self.clock.sleep(pause(self.timing.heartbeat(), attempt, &self.random)).await;
    }
}

/// Waits for an answer at most so long. Dropping a late answer is what the protocol asks for.
pub(crate) async fn within<T>(
    clock: &dyn Clock,
    patience: Duration,
    answer: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! { biased;
        answer = answer => Some(answer),
        () = clock.sleep(patience) => None,
    }
}

/// What registering needs.
pub(crate) struct Registrar {
    pub(crate) ids: WorkerIds,
    pub(crate) timing: LeaseTiming,
    pub(crate) max_leases: u32,
    pub(crate) table: Arc<dyn LeaseTable>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) random: Arc<Random>,
    pub(crate) hints: bool,
    pub(crate) listener: Option<Listener>,
    pub(crate) rules: Rules,
    pub(crate) unreadable: Unreadable,
}

impl Registrar {
    /// Registers under a new id, however often it takes; one put an id, never repeated.
    ///
    /// # Errors
    /// Only those that trying again does not mend.
    pub(crate) async fn register(
        &self,
        streams: &Streams,
    ) -> Result<(Arc<Registration>, Liveness), TableError> {
        let mut attempt = 0;
        loop {
            match self.try_register(streams.reads()).await {
                Ok(Some(registered)) => return Ok(registered),
                Err(error) if !error.is_transient() => return Err(error),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "registration failed; trying again"),
            }
            self.clock.sleep(pause(self.timing.heartbeat(), attempt, &self.random)).await;
            attempt += 1;
        }
    }

    async fn try_register(
        &self,
        reads: Reads,
    ) -> Result<Option<(Arc<Registration>, Liveness)>, TableError> {
        let table = self.table_row().await?;
        if table.resetting {
            return Err(under_reset());
        }
        let raise =
            TableWrite::RaiseMaxima { duration: self.timing.duration, grace: self.timing.grace };
        if table.max_duration < self.timing.duration || table.max_grace < self.timing.grace {
            self.table.write(&ConditionalWrite::Table(raise)).await?;
        }
        let me = self.ids.draw();
        let mut row = WorkerRow::live(me.clone(), self.timing);
        row.max_leases = self.max_leases;
        row.reads = reads.clone();
        if let Some(listener) = &self.listener {
            listener.set_key(table.hint_key);
            row.address = Some(listener.address.clone());
        }
        let put = ConditionalWrite::Worker(WorkerWrite::Create(row.clone()));
        let sent_at = self.clock.monotonic();
        match within(&*self.clock, self.timing.own(), self.table.write(&put)).await {
            Some(outcome) if Liveness::is_registered(&outcome.clone()?, self.rules) => {}
            _ => return Ok(None),
        }
        let Some(table) = self.look_again(&me).await? else { return Ok(None) };
        let now = self.clock.monotonic();
        let liveness = Liveness::registered(self.timing, sent_at, now).with_rules(self.rules);
        let validity = Validity::new(Arc::clone(&self.clock));
        validity.set(liveness.valid_until());
        let registration = Registration {
            me: me.clone(),
            timing: self.timing,
            table: Arc::clone(&self.table),
            clock: Arc::clone(&self.clock),
            observer: Arc::clone(&self.observer),
            random: Arc::clone(&self.random),
            validity,
            rules: self.rules,
            hurry: Notify::new(),
            look: Notify::new(),
            news: Notify::new(),
            hints: Hints::new(self.hints, &me, table.hint_key, &self.clock),
            held: Mutex::new(Held::nothing(self.rules)),
            view: Mutex::new(View {
                workers: Arc::new(BTreeMap::from([(me, row.clone())])),
                mine: row,
                undecodable: BTreeSet::new(),
                scanned: false,
                scanned_at: now,
                table,
                round_since: now,
                list_asked: false,
                ended: None,
            }),
            decided: Mutex::default(),
            control_ticked: AtomicU64::new(now.as_nanos()),
            reads: Mutex::new(reads),
            unreadable: Arc::clone(&self.unreadable),
        };
        locked(&registration.unreadable).take();
        registration.observe(EventKind::Registered);
        Ok(Some((Arc::new(registration), liveness)))
    }

    /// The table row as it is once the worker's own is there: a reset either sees this worker, or
    /// is seen by it. `None` if it cannot be read: then the row must not stand there as that of a
    /// worker with room.
    async fn look_again(&self, me: &WorkerId) -> Result<Option<TableRow>, TableError> {
        let read = self.table.read(&RowKey::Table);
        match within(&*self.clock, self.timing.own(), read).await {
            Some(Ok(Some(Row::Table(table)))) if table.resetting => {
                leave_at_once(&*self.table, me).await;
                Err(under_reset())
            }
            Some(Ok(Some(Row::Table(table)))) => Ok(Some(table)),
            _ => {
                leave_at_once(&*self.table, me).await;
                Ok(None)
            }
        }
    }

    /// The table row, made if there is none; refused if it is another table's.
    async fn table_row(&self) -> Result<TableRow, TableError> {
        let table_id = self.table.prepare().await?;
        let row = match self.table.read(&RowKey::Table).await? {
            Some(row) => row,
            None => self.create_table_row(&table_id).await?,
        };
        let Row::Table(row) = row else {
            return Err(TableError::BadRow {
                key: RowKey::Table.to_string(),
                reason: "not a table row".into(),
            });
        };
        check_table_row(&row, &table_id)?;
        Ok(row)
    }

    async fn create_table_row(&self, table_id: &str) -> Result<Row, TableError> {
        let row = TableRow {
            table_id: table_id.to_owned(),
            generation: 0,
            schema: TableRow::SCHEMA,
            max_duration: self.timing.duration,
            max_grace: self.timing.grace,
            resetting: false,
            round: 0,
            hint_key: self.random.key(),
        };
        match self.table.write(&ConditionalWrite::Table(TableWrite::Create(row))).await? {
            CasOutcome::Won(Some(row)) | CasOutcome::Lost(Some(row)) => Ok(row),
            CasOutcome::Won(None) | CasOutcome::Lost(None) => {
                Err(TableError::Unavailable("the table row vanished as it was made".into()))
            }
        }
    }
}

/// If it fails, the row stands still until somebody fences it: nothing was done under it.
async fn leave_at_once(table: &dyn LeaseTable, me: &WorkerId) {
    let gone = WorkerWrite::Update {
        id: me.clone(),
        when: vec![WorkerCondition::StateIs(WorkerState::Live)],
        change: vec![WorkerChange::State(WorkerState::Gone)],
    };
    if let Err(error) = table.write(&ConditionalWrite::Worker(gone)).await {
        tracing::warn!(%error, "leaving at once failed; the row stands until it is fenced");
    }
}

/// It ends by itself, or is run again.
fn under_reset() -> TableError {
    TableError::Unavailable(
        "the application is being reset; workers start once that is done. If the reset was broken \
         off, run it again"
            .to_owned(),
    )
}

pub(crate) fn check_schema(row: &TableRow) -> Result<(), TableError> {
    if row.schema != TableRow::SCHEMA {
        return Err(TableError::Refused(format!(
            "its row {} says that rows have schema {}, this version reads {}: use a matching \
             version",
            RowKey::Table,
            row.schema,
            TableRow::SCHEMA
        )));
    }
    Ok(())
}

fn check_table_row(row: &TableRow, table_id: &str) -> Result<(), TableError> {
    check_schema(row)?;
    if row.table_id != table_id {
        return Err(TableError::Refused(format!(
            "its row {} is bound to table id {}, but the store reports {table_id}: a copy or a \
             restored backup. Accept it with `kcl table accept-restored` once no other worker runs",
            RowKey::Table,
            row.table_id
        )));
    }
    Ok(())
}
