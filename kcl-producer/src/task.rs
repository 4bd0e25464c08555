//! The producer's task: carries out what the core decides.

use std::collections::HashMap;
use std::sync::Arc;

use kcl_core::protocol::Moment;
use kcl_core::{Clock, Shard};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};

use crate::core::{Core, FlightId, Taken};
use crate::limits::{LONGEST_DELAY, QUEUE};
use crate::producer::Shutdown;
use crate::sink::{Outcome, PutSink, SinkError};

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Command {
    Put(Taken),
    Flush(oneshot::Sender<()>),
    ShutDown(Moment),
}

/// What a call of the sink brought.
enum Answer {
    Listed(Result<Vec<Shard>, SinkError>),
    Put(Result<Vec<Outcome>, SinkError>),
}

pub(crate) struct Task {
    core: Core,
    sink: Arc<dyn PutSink>,
    clock: Arc<dyn Clock>,
    budget: Arc<Semaphore>,
    /// Calls of the sink under way, each in a task of its own: as many as the options say, and one
    /// listing.
    calls: JoinSet<Answer>,
    /// The request each of them carries; none for a listing.
    carried: HashMap<Id, Option<FlightId>>,
    deadline: Option<Moment>,
    is_closed: bool,
}

impl Task {
    pub(crate) fn new(
        core: Core,
        sink: Arc<dyn PutSink>,
        clock: Arc<dyn Clock>,
        budget: Arc<Semaphore>,
    ) -> Self {
        Self {
            core,
            sink,
            clock,
            budget,
            calls: JoinSet::new(),
            carried: HashMap::new(),
            deadline: None,
            is_closed: false,
        }
    }

    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Command>) -> Shutdown {
        let mut received = Vec::with_capacity(QUEUE);
        let clock = Arc::clone(&self.clock);
        loop {
            let now = clock.monotonic();
            self.send(now);
            if self.is_closed && self.core.is_idle() {
                return Shutdown::Flushed;
            }
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return self.abandon(&mut queue).await;
            }
            // With nobody left to say anything it looks for itself now and then.
            let alone = self.is_closed.then_some(now + LONGEST_DELAY);
            let due = [self.core.next_due(now), self.deadline, alone].into_iter().flatten().min();
            tokio::select! {
                biased;
                Some(ended) = self.calls.join_next_with_id() => self.land(ended),
                count = queue.recv_many(&mut received, QUEUE), if !self.is_closed => {
                    self.is_closed = count == 0;
                    let now = clock.monotonic();
                    for command in received.drain(..) {
                        self.obey(command, now, &mut queue);
                    }
                }
                () = clock.sleep_until(due.unwrap_or_default()), if due.is_some() => {}
            }
        }
    }

    /// Calls the sink for everything that may go now.
    fn send(&mut self, now: Moment) {
        if self.core.wants_listing(now) {
            let sink = Arc::clone(&self.sink);
            let call = self.calls.spawn(async move { Answer::Listed(sink.list_shards().await) });
            self.carried.insert(call.id(), None);
        }
        while let Some(request) = self.core.next_request(now) {
            let sink = Arc::clone(&self.sink);
            let put = async move { Answer::Put(sink.put_records(request.records).await) };
            let call = self.calls.spawn(put);
            self.carried.insert(call.id(), Some(request.id));
        }
    }

    fn land(&mut self, ended: Result<(Id, Answer), JoinError>) {
        let (id, answer) = match ended {
            Ok((id, answer)) => (id, Some(answer)),
            Err(error) => (error.id(), None),
        };
        let now = self.clock.monotonic();
        let flight = self.carried.remove(&id).flatten();
        let panicked = || Err(SinkError::Unknown("the sink panicked".into()));
        match (flight, answer) {
            (Some(flight), Some(Answer::Put(answer))) => self.core.land(flight, answer, now),
            (Some(flight), _) => self.core.land(flight, panicked(), now),
            (None, Some(Answer::Listed(shards))) => self.core.listed(shards.ok(), now),
            (None, _) => self.core.listed(None, now),
        }
    }

    fn obey(&mut self, command: Command, now: Moment, queue: &mut mpsc::Receiver<Command>) {
        match command {
            Command::Put(taken) => self.core.add(taken, now),
            Command::Flush(done) => self.core.flush(done),
            Command::ShutDown(deadline) => {
                self.deadline.get_or_insert(deadline);
                let (done, _) = oneshot::channel();
                self.core.flush(done);
                // Puts that have their place in the queue are still taken in.
                self.budget.close();
                queue.close();
            }
        }
    }

    async fn abandon(&mut self, queue: &mut mpsc::Receiver<Command>) -> Shutdown {
        let now = self.clock.monotonic();
        // Ends soon: the queue is closed, and nobody waits between having a place and using it.
        while let Some(command) = queue.recv().await {
            self.obey(command, now, queue);
        }
        let (never_put, unknown) = self.core.abandon();
        Shutdown::DeadlineReached { never_put, unknown }
    }
}
