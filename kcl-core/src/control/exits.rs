//! What follows when a consumer has ended.

use std::sync::Arc;

use kcl_protocol::moves::{Child, Final, receiver};
use kcl_protocol::{Checkpoint, EntryId, Fence, Lease, LeaseKey, WorkerId};

use super::ops::{Claim, Done, EndOutcome, LetGo, Unread, operation};
use super::{After, Again, Control, GaveUp};
use crate::consumer::{Exit, ExitReason, StopReason};
use crate::consumers::Stopped;
use crate::event::{EventKind, HoldReason};
use crate::hints::{Hint, Told};
use crate::registration::Registration;
use crate::scheduler::WorkerError;
use crate::source::{ChildShard, SourceError};
use crate::streams::Bound;
use crate::table::TableError;

impl Control<'_> {
    pub(super) fn on_stopped(&mut self, stopped: Stopped) {
        let Stopped { key, fence, from, exit, panic } = stopped;
        if let Some((lease, permit, reason, from)) = self.deferred.remove(&key) {
            let after = self.after.remove(&key);
            self.drop_from_ask(after);
            self.run_lease(lease, permit, reason, from);
            return;
        }
        let after = self.after.remove(&key);
        let done = exit.as_ref().and_then(progress);
        if let Some(panic) = panic {
            tracing::error!(lease = %key, %panic, "the consumer panicked; the shard is yielded");
            self.drop_from_ask(after);
            let lease = key.clone();
            self.registration.observe(EventKind::ConsumerPanicked { lease, fence, panic });
            return self.pass_on(key, fence, None, from.as_ref());
        }
        match exit.map(|exit| exit.reason) {
            Some(ExitReason::Ended { children }) => {
                self.drop_from_ask(after);
                self.end_shard(key, fence, children);
            }
            Some(ExitReason::HandedBack) => match after {
                Some(After::Give(to, ask)) => self.let_go(key, fence, Some(to), done, ask),
                Some(After::Release) => self.let_go(key, fence, None, done, None),
                None => self.give_away(key, fence, done),
            },
            Some(ExitReason::Lost) | None => match after {
                Some(After::Give(to, ask)) => self.let_go(key, fence, Some(to), done, ask),
                Some(After::Release) => self.let_go(key, fence, None, done, None),
                None => {
                    self.registration.spend(&key, fence);
                    self.claim(&key, Claim::Read, HoldReason::Adopted, None);
                }
            },
            Some(ExitReason::Yield { error }) => {
                tracing::warn!(lease = %key, %error, "the shard is yielded");
                self.drop_from_ask(after);
                self.pass_on(key, fence, done, from.as_ref());
            }
            Some(ExitReason::SourceFailed(error)) => {
                self.drop_from_ask(after);
                self.source_failed(Unread { key, fence, done, from }, &error);
            }
            Some(ExitReason::StopWorker { error }) => {
                self.parting_error
                    .get_or_insert(WorkerError::Processor { lease: key.clone(), error });
                self.drop_from_ask(after);
                self.give_away(key, fence, done);
                if self.leaving.is_none() {
                    self.leave();
                }
            }
        }
    }

    fn source_failed(&mut self, lease: Unread, error: &SourceError) {
        tracing::error!(lease = %lease.key, %error, "the shard cannot be read");
        let (key, text) = (lease.key.clone(), error.to_string());
        self.registration.observe(EventKind::SourceFailed { lease: key, error: text });
        if matches!(error, SourceError::NotFound(_) | SourceError::Refused(_)) {
            // Perhaps the stream was made again: the sync asks, and refuses it then.
            self.sync_streams();
        }
        match self.streams.find(&lease.key) {
            Some(stream) if matches!(error, SourceError::NotFound(_)) => {
                self.end_if_dropped(lease, stream);
            }
            _ => self.pass_on(lease.key, lease.fence, lease.done, lease.from.as_ref()),
        }
    }

    /// Gives up a shard that does not work here: rather not to whom it came from, who may have
    /// given it up too.
    fn pass_on(
        &mut self,
        key: LeaseKey,
        fence: Fence,
        done: Option<Final>,
        from: Option<&WorkerId>,
    ) {
        self.ban(&key, GaveUp::Failed);
        let view = self.registration.view();
        let others = view.workers.values().filter(|row| Some(&row.id) != from);
        let to = receiver(&key, others, &self.registration.me).or_else(|| self.receiver(&key));
        self.let_go(key, fence, to, done, None);
    }

    /// True for a lease that goes on without being worked on: this worker leaves, or does not read
    /// its stream and was given it before others knew; or its shard failed here and was handed back
    /// within the time it is left alone. Nobody else could do better then; it is released, or it
    /// would go round and round.
    pub(super) fn is_unwanted(&self, key: &LeaseKey) -> bool {
        let gave_up = self.banned.get(key).map(|(_, gave_up)| *gave_up);
        let is_unread = self.streams.find(key).is_none();
        (self.leaving.is_some() || is_unread || gave_up == Some(GaveUp::Failed))
            && !self.consumers.is_running(key)
            && !self.busy.contains_key(key)
    }

    fn ban(&mut self, key: &LeaseKey, gave_up: GaveUp) {
        let until = self.now() + self.settings.config.yield_for;
        self.banned.insert(key.clone(), (until, gave_up));
        // Nobody may have wanted it meanwhile.
        self.timers.entry(until).or_default().push(super::Timer::Scan(super::ScanFor::AfterBan));
    }

    /// Gives a lease up on purpose: it goes to the least loaded other worker.
    pub(super) fn give_up(&mut self, key: &LeaseKey) {
        if self.consumers.is_running(key) {
            self.ban(key, GaveUp::OnRequest);
            self.let_go_of(key);
        }
    }

    /// Stops a consumer whose lease then goes to the least loaded other worker.
    pub(super) fn let_go_of(&mut self, key: &LeaseKey) {
        let after = self.receiver(key).map_or(After::Release, |to| After::Give(to, None));
        self.after.entry(key.clone()).or_insert(after);
        self.consumers.stop(key, StopReason::HandOver);
    }

    pub(super) fn receiver(&self, key: &LeaseKey) -> Option<WorkerId> {
        receiver(key, self.registration.view().workers.values(), &self.registration.me)
    }

    pub(super) fn give_away(&mut self, key: LeaseKey, fence: Fence, done: Option<Final>) {
        let to = self.receiver(&key);
        self.let_go(key, fence, to, done, None);
    }

    pub(super) fn let_go(
        &mut self,
        key: LeaseKey,
        fence: Fence,
        to: Option<WorkerId>,
        done: Option<Final>,
        ask: Option<EntryId>,
    ) {
        if self.busy.insert(key.clone(), Again::No).is_some() {
            self.drop_from_ask(to.map(|to| After::Give(to, ask)));
            return;
        }
        self.operations.push(operation(&self.registration, |registration| async move {
            let outcome = registration.let_go(&key, fence, to.as_ref(), done).await?;
            if let LetGo::Given(to, fence) = &outcome {
                let wake = Hint::Wake { lease: key.clone(), fence: *fence };
                let told = registration.hint(to, wake);
                // The asker looks by itself; nobody else would before a reconcile round.
                if ask.is_none() && told == Told::Perhaps {
                    registration.grant(to, vec![(key.clone(), *fence)]).await?;
                }
            }
            Ok(Done::LetGo { key, ask, outcome })
        }));
    }

    fn end_shard(&mut self, key: LeaseKey, fence: Fence, children: Vec<ChildShard>) {
        if self.busy.insert(key.clone(), Again::No).is_some() {
            return;
        }
        let child =
            |child: ChildShard| Child { id: child.id, parents: child.parents, range: child.range };
        let children: Vec<Child> = children.into_iter().map(child).collect();
        self.operations.push(operation(&self.registration, |registration| async move {
            let told = [EventKind::ShardEnded { lease: key.clone() }];
            commit_end(&registration, key, fence, &children, told).await
        }));
    }

    /// A shard that the stream has dropped is ended, whatever nobody read of it: its children would
    /// wait for ever.
    fn end_if_dropped(&mut self, lease: Unread, stream: Arc<Bound>) {
        if self.busy.insert(lease.key.clone(), Again::No).is_some() {
            return;
        }
        self.operations.push(operation(&self.registration, |registration| async move {
            let children = stream.children_if_dropped(&registration, &lease.key).await?;
            let Some(children) = children else { return Ok(Done::NotDropped(lease)) };
            let Unread { key, fence, .. } = lease;
            let told = [
                EventKind::ShardDropped { lease: key.clone() },
                EventKind::ShardEnded { lease: key.clone() },
            ];
            commit_end(&registration, key, fence, &children, told).await
        }));
    }

    pub(super) fn not_dropped(&mut self, lease: Unread) {
        let Unread { key, fence, done, from } = lease;
        // Whoever asked meanwhile hears when it is let go.
        let again = self.busy.remove(&key);
        self.pass_on(key.clone(), fence, done, from.as_ref());
        if let (Some(Again::Yes), Some(busy)) = (again, self.busy.get_mut(&key)) {
            *busy = Again::Yes;
        }
    }

    pub(super) fn ended(&mut self, key: &LeaseKey, ready: Vec<Lease>) {
        self.settle(key, false);
        if self.leaving.is_none() {
            ready.into_iter().for_each(|child| self.take(child, HoldReason::ParentsEnded));
        }
    }
}

async fn commit_end(
    registration: &Registration,
    key: LeaseKey,
    fence: Fence,
    children: &[Child],
    told: impl IntoIterator<Item = EventKind>,
) -> Result<Done, TableError> {
    match registration.end(&key, fence, children).await? {
        EndOutcome::Ended => {
            told.into_iter().for_each(|event| registration.observe(event));
            let ready = registration.ready_children(&key, children).await?;
            Ok(Done::Ended { key, ready })
        }
        EndOutcome::Back(lease, permit) => {
            let outcome = LetGo::Kept(lease, permit);
            Ok(Done::LetGo { key, ask: None, outcome })
        }
        EndOutcome::Gone => Ok(Done::Ended { key, ready: Vec::new() }),
    }
}

/// The checkpoint to hand on: only what a processor acknowledged, and nothing while an effect is
/// undecided, for that may have put a higher one into the row.
fn progress(exit: &Exit) -> Option<Final> {
    let may_write = !exit.is_undecided && matches!(exit.acked, Checkpoint::At(_));
    may_write.then(|| Final { checkpoint: exit.acked, prepared: exit.prepared.clone() })
}
