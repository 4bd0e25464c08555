//! The producer's task: carries out what the core decides.

use std::collections::HashMap;
use std::sync::Arc;

use kcl_core::protocol::Moment;
use kcl_core::{Clock, Shard};
use tokio::sync::oneshot;
use tokio::task::{Id, JoinError, JoinSet};

use crate::core::{Core, FlightId};
use crate::inbox::{Command, Ending, Receiver};
use crate::limits::{INBOX_RECORDS, LONGEST_DELAY};
use crate::producer::Shutdown;
use crate::sink::{Outcome, PutSink, SinkError};

/// What a call of the sink brought.
enum Answer {
    Listed(Result<Vec<Shard>, SinkError>),
    Put(Result<Vec<Outcome>, SinkError>),
}

pub(crate) struct Task {
    core: Core,
    sink: Arc<dyn PutSink>,
    clock: Arc<dyn Clock>,
    /// Calls of the sink under way, each in a task of its own: as many as the options say, and one
    /// listing.
    calls: JoinSet<Answer>,
    /// The request each of them carries; none for a listing.
    carried: HashMap<Id, Option<FlightId>>,
    /// As the inbox said last.
    ending: Ending,
}

impl Task {
    pub(crate) fn new(core: Core, sink: Arc<dyn PutSink>, clock: Arc<dyn Clock>) -> Self {
        let (calls, carried) = (JoinSet::new(), HashMap::new());
        Self { core, sink, clock, calls, carried, ending: Ending::Open }
    }

    pub(crate) async fn run(mut self, inbox: Receiver) -> Shutdown {
        let mut received = Vec::new();
        let clock = Arc::clone(&self.clock);
        loop {
            let now = clock.monotonic();
            self.send(now);
            let is_open = self.ending == Ending::Open;
            if !is_open && self.core.is_idle() {
                return Shutdown::Flushed;
            }
            let deadline = match self.ending {
                Ending::By(deadline) => Some(deadline),
                Ending::Open | Ending::Closed => None,
            };
            if deadline.is_some_and(|deadline| deadline <= now) {
                // Everything that came in was taken from the inbox with the deadline.
                let (never_put, unknown) = self.core.abandon();
                return Shutdown::DeadlineReached { never_put, unknown };
            }
            // With nobody left to say anything it looks for itself now and then.
            let alone = (!is_open).then_some(now + LONGEST_DELAY);
            let due = [self.core.next_due(now), deadline, alone].into_iter().flatten().min();
            tokio::select! {
                biased;
                Some(ended) = self.calls.join_next_with_id() => self.land(ended),
                () = inbox.changed(), if is_open => self.obey(&inbox, &mut received),
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

    /// Does what the inbox has for it.
    fn obey(&mut self, inbox: &Receiver, received: &mut Vec<Command>) {
        self.ending = inbox.take(received);
        let now = self.clock.monotonic();
        for command in received.drain(..) {
            match command {
                Command::Put(taken) => self.core.add(taken, now),
                Command::Flush(done) => self.core.flush(done),
            }
        }
        // After a burst its room goes back: what the producer's memory counts for a record has one
        // entry for it, not one for each place where it was.
        received.shrink_to(INBOX_RECORDS);
        if let Ending::By(_) = self.ending {
            // Nothing lingers from now on.
            let (done, _) = oneshot::channel();
            self.core.flush(done);
        }
    }
}
