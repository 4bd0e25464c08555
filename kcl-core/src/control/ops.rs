//! The requests of the control loop, each a future that ends in a [`Done`].
//!
//! The rule they share: a write conditioned on a fence spends that fence first, so a reply that is
//! lost, late or doubled can never make this worker hold a lease it does not own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kcl_protocol::lineage::all_ended;
use kcl_protocol::moves::{self, Child, Final, Settled};
use kcl_protocol::{
    CasOutcome, ConditionalWrite, EntryId, Fence, InboxEntry, Lease, LeaseKey, LeaseWrite, Moment,
    Row, RowKey, Standing, WorkerId, WorkerRow, WorkerState, WorkerWrite,
};

use crate::event::HoldReason;
use crate::handle::StreamAnswer;
use crate::hints::Hint;
use crate::permit::Permit;
use crate::registration::Registration;
use crate::scheduler::WorkerError;
use crate::streams::{Bound, Synced};
use crate::table::{Scan, TableError};

/// What an operation came to.
pub(crate) enum Done {
    /// A lease was claimed; `won` if it is held now.
    Claimed {
        key: LeaseKey,
        reason: HoldReason,
        from: Option<WorkerId>,
        won: Option<(Lease, Permit)>,
    },
    /// A lease that was let go, with what became of it.
    LetGo { key: LeaseKey, ask: Option<EntryId>, outcome: LetGo },
    /// A shard's end is committed (or the lease is no longer this worker's). `ready` are children
    /// that may start now.
    Ended { key: LeaseKey, ready: Vec<Lease> },
    /// A shard that could not be read is not known to be gone.
    NotDropped(Unread),
    /// A scan of the leases.
    Scanned { purpose: super::ScanFor, leases: BTreeMap<LeaseKey, Lease> },
    /// Another worker's row, for deciding its ask.
    Asker { ask: EntryId, row: Option<WorkerRow> },
    /// An ask was put into a donor's inbox at this moment, or refused by its row.
    Asked { ask: EntryId, sent: bool },
    /// A revocation stands in its owner's row since at most this moment, or never will.
    Revoked { ask: EntryId, key: LeaseKey, stands_since: Option<Moment> },
    /// A shard sync is over; new leases may exist.
    Synced(Synced),
    /// Leases whose rows were deleted exist again.
    Remade,
    /// A stream to add is bound, or refused.
    Bound { bound: Result<Bound, WorkerError>, answer: StreamAnswer },
    /// The table cannot be used as it is.
    Failed(TableError),
    /// Nothing follows.
    Nothing,
}

/// A lease whose shard could not be read.
pub(crate) struct Unread {
    pub(crate) key: LeaseKey,
    pub(crate) fence: Fence,
    pub(crate) done: Option<Final>,
    /// From whom it came, if somebody had it.
    pub(crate) from: Option<WorkerId>,
}

/// What became of a lease that was let go.
pub(crate) enum LetGo {
    /// It belongs to this worker at this fence.
    Given(WorkerId, Fence),
    /// It came back under a new fence: the receiver was not alive, or does not read its stream.
    Kept(Lease, Permit),
    /// Nobody owns it, or somebody else took it.
    Gone,
}

/// Where a claim starts.
pub(crate) enum Claim {
    /// With a write that takes the lease as it was seen.
    Take(Lease),
    /// With a strong read.
    Read,
}

fn lease_of(row: Option<Row>) -> Option<Lease> {
    row.and_then(Row::into_lease)
}

impl Registration {
    /// Asks until the table answers; what repeating does not mend is an error. For requests that
    /// may be repeated whatever became of the last one.
    async fn insist<T, F>(&self, request: impl Fn() -> F) -> Result<T, TableError>
    where
        F: Future<Output = Result<T, TableError>>,
    {
        let mut attempt = 0;
        loop {
            match request().await {
                Err(error) if error.is_transient() => self.pause(attempt).await,
                answer => return answer,
            }
            attempt += 1;
        }
    }

    /// A strong read, however often it takes.
    pub(crate) async fn read_lease(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        let key = RowKey::Lease(key.clone());
        self.insist(|| self.table.read(&key)).await.map(lease_of)
    }

    /// An ownership write conditioned on a fence that is spent. `Err` only for what repeating does
    /// not mend; a lost reply is answered by the row as a strong read shows it.
    async fn own(&self, write: LeaseWrite) -> Result<CasOutcome, TableError> {
        let write = ConditionalWrite::Lease(write);
        let RowKey::Lease(key) = write.key() else { return Ok(CasOutcome::Lost(None)) };
        let mut attempt = 0;
        loop {
            match self.table.write(&write).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) if error.may_have_applied() => {
                    let row = self.read_lease(&key).await?;
                    return Ok(CasOutcome::Lost(row.map(Row::Lease)));
                }
                Err(error) if !error.is_transient() => return Err(error),
                Err(_) => self.pause(attempt).await,
            }
            attempt += 1;
        }
    }

    /// Takes or receives a lease: follows the row until this worker holds it or it is another's.
    /// None of this worker's consumers may be running it.
    pub(crate) async fn claim(
        &self,
        key: &LeaseKey,
        first: Claim,
    ) -> Result<Option<(Lease, Permit)>, TableError> {
        let mut row = match first {
            Claim::Read => self.read_lease(key).await?,
            Claim::Take(seen) => {
                #[cfg(feature = "mutants")]
                let seen = self.reread(seen).await?;
                self.spend(key, seen.fence);
                let take = moves::take(&seen, &self.me, self.terms());
                let outcome = self.own(take).await?;
                #[cfg(feature = "mutants")]
                self.extend_validity(&outcome);
                let row = lease_of(outcome.row().cloned());
                row.map(|row| moves::started(row, Some(&seen), self.rules))
            }
        };
        // Writes whose fate stays unknown beside reads that work must not be repeated at the speed
        // of the wire.
        let mut adoptions = 0;
        loop {
            let Some(lease) = row else { return Ok(None) };
            match self.holdings(|holdings| holdings.standing(&lease, &self.me)) {
                Standing::Hold => {
                    let permit = self.hold(key, lease.fence);
                    return Ok(permit.map(|permit| (lease, permit)));
                }
                Standing::Adopt => {
                    if adoptions > 0 {
                        self.pause(adoptions).await;
                    }
                    adoptions += 1;
                    self.spend(key, lease.fence);
                    let adopt = moves::adopt(key, lease.fence, &self.me, self.terms());
                    row = lease_of(self.own(adopt).await?.row().cloned());
                }
                Standing::Held | Standing::NotMine | Standing::Ended => return Ok(None),
            }
        }
    }

    /// Hands a lease whose consumer has stopped to `to`, or keeps it under a new fence if that
    /// worker is not live; without a receiver, releases it.
    pub(crate) async fn let_go(
        &self,
        key: &LeaseKey,
        fence: Fence,
        to: Option<&WorkerId>,
        done: Option<Final>,
    ) -> Result<LetGo, TableError> {
        let to = match to {
            Some(to) if self.is_receiving(to, key).await? => Some(to),
            Some(_) => Some(&self.me),
            None => None,
        };
        self.change_holdings(|holdings| holdings.lets_go(key, fence));
        let write = match to {
            Some(to) => moves::hand_over(key, fence, &self.me, self.terms(), to, done),
            None => moves::release(key, fence, &self.me, self.terms(), done),
        };
        #[cfg(feature = "mutants")]
        let write = self.keep_ordinal(key, write).await?;
        let outcome = self.own(write).await?;
        let won = outcome.is_won();
        let lease = lease_of(outcome.row().cloned());
        if let (Some(lease), Some(to)) = (&lease, to)
            && lease.owner.as_ref() == Some(to)
            && *to != self.me
        {
            return Ok(LetGo::Given(to.clone(), lease.fence));
        }
        let back = match (won, moves::settled(lease.as_ref(), &self.me)) {
            (_, Settled::Gone) => None,
            // The row as this worker's own write left it, or as a strong read found it.
            (_, Settled::StillMine) => self.claim(key, Claim::Read).await?,
        };
        Ok(back.map_or(LetGo::Gone, |(lease, permit)| LetGo::Kept(lease, permit)))
    }

    /// If not, the view learns it now and not at the next scan: the next choice is another one.
    async fn is_receiving(&self, to: &WorkerId, key: &LeaseKey) -> Result<bool, TableError> {
        let row = match self.read_worker(to).await {
            Err(TableError::BadRow { .. }) => {
                self.cannot_read(to);
                return Ok(false);
            }
            row => row?,
        };
        let receives = |row: &WorkerRow| {
            row.state == WorkerState::Live && !row.draining && row.reads.reads(key)
        };
        if row.as_ref().is_some_and(receives) {
            return Ok(true);
        }
        match row {
            Some(row) => self.saw(row),
            None => self.change_view(|view| drop(Arc::make_mut(&mut view.workers).remove(to))),
        }
        Ok(false)
    }

    /// A strong read of a worker row, however often it takes.
    pub(crate) async fn read_worker(&self, id: &WorkerId) -> Result<Option<WorkerRow>, TableError> {
        let key = RowKey::Worker(id.clone());
        let row = self.insist(|| self.table.read(&key)).await?;
        Ok(row.and_then(Row::into_worker))
    }

    /// Commits a shard's end and its children in one transaction, then says which children may
    /// start. The lease must not be held any more.
    pub(crate) async fn end(
        &self,
        key: &LeaseKey,
        fence: Fence,
        children: &[Child],
    ) -> Result<EndOutcome, TableError> {
        self.change_holdings(|holdings| holdings.lets_go(key, fence));
        let writes = moves::end(key, fence, &self.me, self.terms(), children);
        let mut all_won = true;
        for writes in moves::transactions(writes, self.rules) {
            all_won &= self.transact(&writes).await?;
        }
        if all_won {
            return Ok(EndOutcome::Ended);
        }
        let row = self.read_lease(key).await?;
        if row.as_ref().is_some_and(Lease::is_ended) {
            return Ok(EndOutcome::Ended);
        }
        let back = match moves::settled(row.as_ref(), &self.me) {
            Settled::Gone => None,
            Settled::StillMine => self.claim(key, Claim::Read).await?,
        };
        Ok(back.map_or(EndOutcome::Gone, |(lease, permit)| EndOutcome::Back(lease, permit)))
    }

    /// One transaction; false if it did not apply, or if nobody knows.
    async fn transact(&self, writes: &[ConditionalWrite]) -> Result<bool, TableError> {
        let mut attempt = 0;
        loop {
            match self.table.write_all(writes).await {
                Ok(outcome) => return Ok(outcome.is_won()),
                Err(error) if error.may_have_applied() => return Ok(false),
                Err(error) if !error.is_transient() => return Err(error),
                Err(_) => self.pause(attempt).await,
            }
            attempt += 1;
        }
    }

    /// Those children of an ended shard whose other parents have ended too.
    pub(crate) async fn ready_children(
        &self,
        key: &LeaseKey,
        children: &[Child],
    ) -> Result<Vec<Lease>, TableError> {
        let mut ready = Vec::new();
        for child in children {
            let mut ended = BTreeSet::new();
            for parent in &child.parents {
                let row = self.read_lease(&key.sibling(parent)).await?;
                ended.extend(row.filter(Lease::is_ended).map(|row| row.key.shard()));
            }
            if all_ended(&child.parents, |parent| ended.contains(parent), self.rules)
                && let Some(lease) = self.read_lease(&key.sibling(&child.id)).await?
            {
                ready.push(lease);
            }
        }
        // A child may have had an owner: if the row of a parent was deleted and made anew.
        let view = self.view();
        let is_free =
            |lease: &Lease| moves::is_free(lease, |owner| view.workers.get(owner), self.rules);
        Ok(ready.into_iter().filter(|lease| is_free(lease) && !lease.is_ended()).collect())
    }

    /// Every lease row, however often it takes.
    pub(crate) async fn scan_leases(&self) -> Result<BTreeMap<LeaseKey, Lease>, TableError> {
        let rows = self.insist(|| self.table.scan(Scan::Leases)).await?;
        let leases = rows.into_iter().filter_map(Row::into_lease);
        Ok(leases.map(|lease| (lease.key.clone(), lease)).collect())
    }

    /// Reads the worker rows now, apart from the liveness loop's own rhythm. If that fails, its
    /// next look will do.
    pub(crate) async fn look_at_workers(&self) {
        let sent_at = self.clock.monotonic();
        let rows = match self.table.scan(Scan::Coordination).await {
            Ok(rows) => rows,
            Err(error) => return self.cannot_look(error),
        };
        let workers = rows.into_iter().filter_map(Row::into_worker);
        let workers: BTreeMap<_, _> = workers.map(|row| (row.id.clone(), row)).collect();
        self.looked(|view| {
            view.workers = Arc::new(workers);
            view.scanned_at = sent_at;
        });
    }

    /// Puts an entry into another worker's inbox. `Ok(false)`: its row refused it, or nobody can
    /// read the row. A repeat puts the same entry again, which changes nothing.
    pub(crate) async fn write_worker(&self, write: WorkerWrite) -> Result<bool, TableError> {
        let write = ConditionalWrite::Worker(write);
        let RowKey::Worker(id) = write.key() else { return Ok(false) };
        let once = || async {
            match self.table.write(&write).await {
                Err(TableError::BadRow { .. }) => {
                    self.cannot_read(&id);
                    Ok(CasOutcome::Lost(None))
                }
                // It applied, but its replies have the row in them: none will ever decode.
                Err(error) if error.may_have_applied() && self.is_undecodable(&id) => {
                    Ok(CasOutcome::Lost(None))
                }
                answer => answer,
            }
        };
        Ok(self.insist(once).await?.is_won())
    }

    /// Tells `to` which leases it was given; a full inbox gets the mark to compare rows instead.
    pub(crate) async fn grant(
        &self,
        to: &WorkerId,
        leases: Vec<(LeaseKey, Fence)>,
    ) -> Result<(), TableError> {
        let id = self.random.entry_id();
        if !self.write_worker(moves::send(to, id, InboxEntry::Grant { leases })).await? {
            self.write_worker(moves::send_list(to)).await?;
        }
        self.hint(to, Hint::Inbox);
        Ok(())
    }
}

/// What became of a shard's end.
pub(crate) enum EndOutcome {
    /// It is committed.
    Ended,
    /// It is not, and the lease came back under a new fence: process to the end again.
    Back(Lease, Permit),
    /// The lease is another worker's.
    Gone,
}

/// Turns an operation's failure into something the loop handles.
pub(crate) fn done(answer: Result<Done, TableError>) -> Done {
    answer.unwrap_or_else(Done::Failed)
}

/// Boxes an operation so that all kinds wait in one place.
pub(crate) type Operation = std::pin::Pin<Box<dyn Future<Output = Done> + Send>>;

/// An operation over a registration.
pub(crate) fn operation<F>(
    registration: &Arc<Registration>,
    make: impl FnOnce(Arc<Registration>) -> F,
) -> Operation
where
    F: Future<Output = Result<Done, TableError>> + Send + 'static,
{
    let future = make(Arc::clone(registration));
    Box::pin(async move { done(future.await) })
}
