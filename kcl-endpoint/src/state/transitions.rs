//! Changes of streams that are under way: each is begun in one step with the check that it may.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kcl_stream_local::Stream;

use super::State;
use crate::error::ApiError;
use crate::limits::{ACCOUNT, STREAMS_CREATING, STREAMS_RESHARDING};

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Creating,
    Updating,
    Active,
    Deleting,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Updating => "UPDATING",
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
        }
    }
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Create,
    /// Of a setting, or of the number of shards.
    Update,
    /// Of single shards.
    Reshard,
    Delete,
}

/// A change that is not finished yet.
#[derive(Clone, Copy, Debug)]
struct Transition {
    kind: Kind,
    /// Unix milliseconds; never while its request is being answered.
    until: u64,
    /// Tells it from a later one of the same stream.
    number: u64,
}

impl Transition {
    /// Whether it is over. A deletion is when the stream is gone, which no clock tells.
    fn is_over(&self, now_millis: u64) -> bool {
        self.kind != Kind::Delete && self.until <= now_millis
    }
}

/// Every change that is under way, by stream.
#[derive(Debug, Default)]
pub(crate) struct Transitions(Mutex<Running>);

#[derive(Debug, Default)]
struct Running {
    by_stream: BTreeMap<String, Transition>,
    next: u64,
}

impl Running {
    fn count(&self, kind: Kind, now_millis: u64) -> usize {
        let is_one = |it: &&Transition| it.kind == kind && !it.is_over(now_millis);
        self.by_stream.values().filter(is_one).count()
    }
    fn status(&self, stream: &str, now_millis: u64) -> Status {
        let running = self.by_stream.get(stream).filter(|it| !it.is_over(now_millis));
        running.map_or(Status::Active, |it| match it.kind {
            Kind::Create => Status::Creating,
            Kind::Update | Kind::Reshard => Status::Updating,
            Kind::Delete => Status::Deleting,
        })
    }
}

impl Transitions {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change whose request is being answered: nobody else changes the stream meanwhile. Dropped, it
/// was none.
#[must_use]
pub(crate) struct Change<'a> {
    state: &'a State,
    stream: &'a str,
    number: u64,
}

impl Change<'_> {
    /// It was made, and takes the time of a transition to show.
    pub fn made(self) {
        let until = self.state.clock.wall_millis() + self.state.transition_millis;
        let mut running = self.state.transitions.running();
        if let Some(own) = running.by_stream.get_mut(self.stream)
            && own.number == self.number
        {
            own.until = until;
        }
        drop(running);
        std::mem::forget(self);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut running = self.state.transitions.running();
        if running.by_stream.get(self.stream).is_some_and(|it| it.number == self.number) {
            running.by_stream.remove(self.stream);
        }
    }
}

fn in_state(stream: &str, status: Status) -> ApiError {
    ApiError::in_use(format!(
        "Stream {stream} under account {ACCOUNT} not ACTIVE, instead in state {}",
        status.name()
    ))
}

impl State {
    fn begin<'a>(&'a self, running: &mut Running, stream: &'a str, kind: Kind) -> Change<'a> {
        let number = running.next;
        running.next += 1;
        running.by_stream.insert(stream.to_owned(), Transition { kind, until: u64::MAX, number });
        Change { state: self, stream, number }
    }

    pub fn status(&self, stream: &str) -> Status {
        let now = self.clock.wall_millis();
        self.transitions.running().status(stream, now)
    }

    /// Forgets all about a stream whose deletion is done. Where another of its name is being made,
    /// or was, there is nothing left of it: a deletion that comes late takes nothing of that one.
    pub(super) fn forget_deleted(&self, stream: &str) {
        // Streams are begun under this lock: none comes in between.
        let mut running = self.transitions.running();
        let is_deletion = running.by_stream.get(stream).is_some_and(|it| it.kind == Kind::Delete);
        if is_deletion && self.engine.stream(stream).is_err() {
            running.by_stream.remove(stream);
            self.forget_consumers(stream);
            self.forget_settings(stream);
        }
    }

    fn change<'a>(&'a self, name: &'a str, kind: Kind) -> Result<(Stream, Change<'a>), ApiError> {
        let stream = self.stream(name)?;
        let now = self.clock.wall_millis();
        let mut running = self.transitions.running();
        match running.status(name, now) {
            Status::Active => {}
            status => return Err(in_state(name, status)),
        }
        if kind == Kind::Reshard && running.count(kind, now) >= STREAMS_RESHARDING {
            return Err(ApiError::limit_exceeded(format!(
                "At most {STREAMS_RESHARDING} streams have their shards split or merged at once."
            )));
        }
        Ok((stream, self.begin(&mut running, name, kind)))
    }

    /// Begins to change a setting or the number of shards of a stream that nothing else changes.
    pub fn begin_update<'a>(&'a self, name: &'a str) -> Result<(Stream, Change<'a>), ApiError> {
        self.change(name, Kind::Update)
    }

    /// Begins to split or merge shards: of at most five streams at once.
    pub fn begin_reshard<'a>(&'a self, name: &'a str) -> Result<(Stream, Change<'a>), ApiError> {
        self.change(name, Kind::Reshard)
    }

    /// Begins to create a stream: at most five at once. Nobody finds it ACTIVE first.
    pub fn begin_create<'a>(&'a self, name: &'a str) -> Result<Change<'a>, ApiError> {
        let now = self.clock.wall_millis();
        let mut running = self.transitions.running();
        let is_new = running.by_stream.get(name).is_some_and(|it| it.until == u64::MAX);
        let is_being_made = is_new && running.status(name, now) == Status::Creating;
        if is_being_made || self.engine.stream(name).is_ok() {
            let message = format!("Stream {name} under account {ACCOUNT} already exists.");
            return Err(ApiError::in_use(message));
        }
        if running.count(Kind::Create, now) >= STREAMS_CREATING {
            return Err(ApiError::limit_exceeded(format!(
                "At most {STREAMS_CREATING} streams are CREATING at once."
            )));
        }
        // Of one before it, whose deletion did not come to that yet.
        self.forget_consumers(name);
        self.forget_settings(name);
        Ok(self.begin(&mut running, name, Kind::Create))
    }

    /// Begins to delete a stream, whatever else it is doing.
    pub(super) fn begin_delete<'a>(
        &'a self,
        name: &'a str,
    ) -> Result<(Stream, Change<'a>), ApiError> {
        let stream = self.stream(name)?;
        let now = self.clock.wall_millis();
        let mut running = self.transitions.running();
        if running.status(name, now) == Status::Deleting {
            let message = format!("Stream {name} under account {ACCOUNT} is being deleted.");
            return Err(ApiError::in_use(message));
        }
        Ok((stream, self.begin(&mut running, name, Kind::Delete)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kcl_core::SystemClock;
    use kcl_stream_local::{Engine, StreamOptions};

    use super::*;
    use crate::state::{Attached, Settings};
    use crate::token::Seal;

    const THREADS: usize = 8;

    fn state(streams: usize) -> State {
        let clock = Arc::new(SystemClock);
        let engine = Engine::new(clock.clone());
        for number in 0..streams {
            engine.create_stream(format!("s{number}"), 1, StreamOptions::unlimited()).unwrap();
        }
        State::new(clock, (engine, Seal::new()), StreamOptions::unlimited(), 3_600_000)
    }

    /// How many of the threads succeed that try at once.
    fn succeed(attempt: impl Fn(usize) -> bool + Sync) -> usize {
        let (gate, successes) = (std::sync::Barrier::new(THREADS), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for number in 0..THREADS {
                let (gate, successes, attempt) = (&gate, &successes, &attempt);
                scope.spawn(move || {
                    gate.wait();
                    successes.fetch_add(usize::from(attempt(number)), Ordering::Relaxed);
                });
            }
        });
        successes.into_inner()
    }

    #[test]
    fn of_changes_begun_at_once_one_wins_a_stream() {
        for _ in 0..50 {
            let state = state(1);
            let change = |_| state.begin_update("s0").map(|(_, change)| change.made()).is_ok();
            assert_eq!(succeed(change), 1);
            assert_eq!(state.status("s0"), Status::Updating);
        }
    }

    #[test]
    fn of_reshards_begun_at_once_five_streams_win() {
        for _ in 0..50 {
            let state = state(THREADS);
            let reshard = |number| {
                let name = format!("s{number}");
                state.begin_reshard(&name).map(|(_, change)| change.made()).is_ok()
            };
            assert_eq!(succeed(reshard), STREAMS_RESHARDING);
        }
    }

    #[test]
    fn of_streams_created_at_once_five_win_and_a_name_once() {
        for _ in 0..50 {
            let state = state(0);
            let create = |name: &str| state.begin_create(name).map(Change::made).is_ok();
            assert_eq!(succeed(|number| create(&format!("n{number}"))), STREAMS_CREATING);
        }
        let state = state(0);
        let (engine, options) = (state.engine.clone(), StreamOptions::unlimited());
        let create = |_| {
            let Ok(change) = state.begin_create("n") else { return false };
            engine.create_stream("n", 1, options).unwrap();
            change.made();
            true
        };
        assert_eq!(succeed(create), 1);
    }

    #[test]
    fn a_deletion_that_comes_late_takes_nothing_of_the_stream_made_anew() {
        let state = state(1);
        let tagged = |key: &str| {
            let tags = [(key.to_owned(), "v".to_owned())].into();
            Settings { attached: Attached { tags, policy: None }, ..Settings::default() }
        };
        let tags = || state.settings("s0", |settings| settings.attached.tags.clone());
        state.begin_settings("s0", tagged("old"));
        state.register_consumer("s0", "old", Attached::default()).unwrap();
        let (_, deletion) = state.begin_delete("s0").unwrap();
        state.engine.delete_stream("s0").unwrap();
        let creation = state.begin_create("s0").unwrap();
        assert!(tags().is_empty() && state.consumers_of("s0").is_empty(), "of the one before");
        state.begin_settings("s0", tagged("new"));
        state.forget_deleted("s0");
        assert!(tags().contains_key("new"), "while it is made");
        state.engine.create_stream("s0", 1, StreamOptions::unlimited()).unwrap();
        creation.made();
        state.register_consumer("s0", "new", Attached::default()).unwrap();
        deletion.made();
        state.forget_deleted("s0");
        assert!(tags().contains_key("new"), "once it is there");
        assert_eq!(state.consumers_of("s0").len(), 1);
        assert_eq!(state.status("s0"), Status::Creating);
        // Deleted too, it is on its way and not yet gone; then it is.
        state.begin_delete("s0").unwrap().1.made();
        state.forget_deleted("s0");
        assert_eq!((state.status("s0"), tags().len()), (Status::Deleting, 1));
        state.engine.delete_stream("s0").unwrap();
        state.forget_deleted("s0");
        assert!(tags().is_empty() && state.consumers_of("s0").is_empty());
        assert_eq!(state.status("s0"), Status::Active, "nothing is under way");
    }

    #[test]
    fn a_change_that_was_not_made_is_none() {
        let state = state(1);
        let (_, change) = state.begin_update("s0").unwrap();
        assert!(state.begin_update("s0").is_err());
        drop(change);
        assert_eq!(state.status("s0"), Status::Active);
        assert!(state.begin_update("s0").is_ok());
        // A deletion takes over; what was under way does not undo it.
        let (_, change) = state.begin_update("s0").unwrap();
        state.begin_delete("s0").unwrap().1.made();
        drop(change);
        assert_eq!(state.status("s0"), Status::Deleting);
    }
}
