//! Streams that come and go while the worker runs.

use std::sync::Arc;

use kcl_protocol::StreamName;
use kcl_protocol::limits::STREAMS_PER_WORKER;

use super::Control;
use super::ops::{Done, operation};
use crate::event::EventKind;
use crate::handle::{StreamAnswer, StreamError};
use crate::limits::STREAM_TRIES;
use crate::scheduler::WorkerError;
use crate::streams::{Bound, StreamRequest};

/// A stream that this worker reads no more and still runs shards of.
pub(super) struct Removal {
    stream: Arc<Bound>,
    answer: Option<StreamAnswer>,
}

fn answer(to: StreamAnswer, with: Result<(), StreamError>) {
    // Whoever asked may not wait any more.
    let _ = to.send(with);
}

impl Control<'_> {
    pub(super) fn add_stream(&mut self, request: StreamRequest, to: StreamAnswer) {
        if let Err(error) = self.may_change_streams() {
            return answer(to, Err(error));
        }
        let settings = Arc::clone(&self.settings);
        self.operations.push(operation(&self.registration, |registration| async move {
            let binding = settings.binding(true);
            let mut bound = binding.bind(&request).await;
            for attempt in 1..STREAM_TRIES {
                let is_leaving = registration.view().mine.draining;
                if is_leaving || !bound.as_ref().is_err_and(WorkerError::is_transient) {
                    break;
                }
                registration.pause(attempt).await;
                bound = binding.bind(&request).await;
            }
            Ok(Done::Bound { bound, answer: to })
        }));
    }

    fn may_change_streams(&self) -> Result<(), StreamError> {
        if self.leaving.is_some() {
            return Err(StreamError::Stopped);
        }
        if self.streams.are_several() { Ok(()) } else { Err(StreamError::OneStream) }
    }

    pub(super) fn stream_bound(&mut self, bound: Result<Bound, WorkerError>, to: StreamAnswer) {
        let added = match self.leaving {
            Some(_) => Err(StreamError::Stopped),
            None => bound.map_err(StreamError::Refused).and_then(|stream| self.insert(stream)),
        };
        answer(to, added);
    }

    fn insert(&mut self, stream: Bound) -> Result<(), StreamError> {
        let name = stream.row.name.clone();
        if self.removals.iter().any(|removal| removal.stream.row.name == name) {
            return Err(StreamError::BeingRemoved(name));
        }
        if self.streams.all().len() >= STREAMS_PER_WORKER {
            return Err(StreamError::TooMany { most: STREAMS_PER_WORKER });
        }
        if self.streams.insert(stream).is_err() {
            return Err(StreamError::AlreadyRead(name));
        }
        self.registration.set_reads(self.streams.reads());
        self.registration.observe(EventKind::StreamAdded { stream: name });
        self.sync_streams();
        Ok(())
    }

    pub(super) fn remove_stream(&mut self, name: &StreamName, to: StreamAnswer) {
        if let Err(error) = self.may_change_streams() {
            return answer(to, Err(error));
        }
        match self.streams.remove(name) {
            Some(stream) => self.let_stream_go(stream, Some(to)),
            None => answer(to, Err(StreamError::NotRead(name.clone()))),
        }
    }

    /// The row says so before anything else, so that nobody gives this worker what it lets go.
    fn let_stream_go(&mut self, stream: Arc<Bound>, answer: Option<StreamAnswer>) {
        self.registration.set_reads(self.streams.reads());
        for key in self.consumers.keys().into_iter().filter(|key| stream.has(key)) {
            self.let_go_of(&key);
        }
        self.removals.push(Removal { stream, answer });
    }

    /// A stream was made again: what the checkpoints say means nothing in it. Of several, this
    /// worker goes on with the others.
    pub(super) fn refuse_stream(&mut self, stream: &Bound, why: WorkerError) {
        let name = stream.row.name.clone();
        let is_news = match self.streams.are_several() {
            true => {
                self.streams.remove(&name).map(|stream| self.let_stream_go(stream, None)).is_some()
            }
            false => self.leaving.is_none(),
        };
        if !is_news {
            return;
        }
        tracing::error!(stream = %name, error = %why, "the stream is not read any more");
        let error = why.to_string();
        self.registration.observe(EventKind::StreamRefused { stream: name, error });
        if !self.streams.are_several() {
            self.parting_error.get_or_insert(why);
            self.leave();
        }
    }

    /// Answers those whose stream has no shard here any more.
    pub(super) fn tend_removals(&mut self) {
        let removals = std::mem::take(&mut self.removals);
        for removal in removals {
            let stream = &removal.stream;
            let is_running = self.consumers.keys().iter().any(|key| stream.has(key))
                || self.busy.keys().chain(self.deferred.keys()).any(|key| stream.has(key));
            if is_running {
                self.removals.push(removal);
                continue;
            }
            self.registration.observe(EventKind::StreamRemoved { stream: stream.row.name.clone() });
            removal.answer.into_iter().for_each(|to| answer(to, Ok(())));
        }
    }
}
