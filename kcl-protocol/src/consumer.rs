//! What a consumer does next: a state machine without time, I/O or records.
//!
//! The runtime carries out what the state asks for and tells what came of it. Data (which records,
//! which error) stays with the runtime; order and legality are here.

/// Whether a running call of user code can be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Calls {
    /// At its next await point.
    Cancellable,
    /// Not at all: it blocks a thread, so it has to be waited for.
    Blocking,
}

/// A call of user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `initialize`.
    Initialize,
    /// `process_records`.
    Process,
    /// `shard_ended`.
    End,
    /// `shutdown_requested`.
    Shutdown,
    /// `lease_lost`.
    LeaseLost,
}

/// Why a consumer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Told to stop.
    HandedBack,
    /// The shard is finished.
    Ended,
    /// The lease is not held any more.
    Lost,
    /// Given up, for another worker to try.
    Yield,
    /// The worker is to shut down.
    StopWorker,
    /// The shard cannot be read.
    SourceFailed,
}

/// What the consumer is doing; the runtime carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// This call runs, and counts.
    Calling(Call),
    /// A blocking call runs that nobody wants any more; once it has returned, the other follows.
    Outwaiting(Call, Then),
    /// Ready for records, or for the end of the shard.
    Idle,
    /// The failing record is on its way to the dead-letter sink.
    DeadLettering,
    /// Waits before the next try.
    Backoff,
    /// Stopped by the error policy; waits to be resumed.
    Parked,
    /// Validity ran out; waits for it to come back.
    Suspended,
    /// Done but for an effect whose outcome is open.
    Settling(Why),
    /// Over.
    Done(Why),
}

/// What follows a blocking call that is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Then {
    /// Go on, or wait for validity first.
    GoOn(Validity),
    /// Leave.
    Leave(Why),
    /// Tell the processor that the lease is lost.
    Lose,
}

/// Whether the worker may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Validity {
    /// It may.
    Current,
    /// Not now.
    Expired,
}

/// What the error policy said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// After a delay, again.
    Retry,
    /// This record goes to the sink.
    DeadLetter,
    /// Leave the shard to another worker.
    Yield,
    /// Park.
    Stop,
    /// Shut the worker down.
    StopWorker,
}

/// Whether the instance survived a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Instance {
    /// It returned an error and can be called again.
    Usable,
    /// It panicked: a new one is made, and initialized.
    Broken,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// Records may be delivered now. Told only while [`Consumer::may_deliver`].
    Ready,
    /// The next record cannot be opened, and the policy said this, as if the processor had failed
    /// at it. Told only while [`Consumer::may_deliver`].
    Unreadable(Verdict),
    /// The shard is closed, and every record of it is acked.
    Drained,
    /// The running call returned `Ok`.
    Returned,
    /// The running call failed.
    Failed(Verdict, Instance),
    /// The sink took the record.
    DeadLettered,
    /// The delay is over.
    RetryDue,
    /// No effect is undecided.
    Settled,
    /// Told to pause.
    Pause,
    /// Told to resume.
    Resume,
    /// Told to stop.
    Stop,
    /// A stop can wait no longer for the running call.
    StopTimeout,
    /// Validity ran out.
    Expired,
    /// Validity is back.
    Granted,
    /// The lease is not held any more.
    Lost,
    /// The shard cannot be read.
    SourceFailed,
    /// No progress for the longest time allowed.
    NoProgress,
}

/// The consumer of one shard under one fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Consumer {
    calls: Calls,
    state: State,
    initialized: bool,
    paused: bool,
    leaving: Option<Why>,
}

impl Consumer {
    /// A consumer about to initialize its processor.
    pub fn new(calls: Calls) -> Self {
        Self {
            calls,
            state: State::Calling(Call::Initialize),
            initialized: false,
            paused: false,
            leaving: None,
        }
    }
    /// What it is doing.
    pub fn state(&self) -> State {
        self.state
    }
    /// True if a batch, or the end of the shard, may be delivered now.
    pub fn may_deliver(&self) -> bool {
        self.state == State::Idle && !self.paused
    }
    /// True once it was told to pause.
    pub fn is_paused(&self) -> bool {
        self.paused
    }
    /// True while records are worth reading ahead.
    pub fn wants_records(&self) -> bool {
        self.leaving.is_none()
            && !matches!(
                self.state,
                State::Parked | State::Settling(_) | State::Done(_) | State::Outwaiting(..)
            )
    }
    /// True once it will deliver nothing more.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some() || matches!(self.state, State::Settling(_) | State::Done(_))
    }

    /// Takes an event in. Events that mean nothing in a state change nothing.
    pub fn on(&mut self, event: Event) {
        match event {
            Event::Ready => self.call_if_idle(Call::Process),
            Event::Unreadable(verdict) if self.may_deliver() => {
                self.answered(Call::Process, verdict);
            }
            Event::Drained => self.call_if_idle(Call::End),
            Event::Returned => self.returned(),
            Event::Failed(verdict, instance) => self.failed(verdict, instance),
            Event::DeadLettered if self.state == State::DeadLettering => self.go_on(),
            Event::RetryDue if self.state == State::Backoff => self.go_on(),
            Event::Settled => {
                if let State::Settling(why) = self.state {
                    self.state = State::Done(why);
                }
            }
            Event::Pause => self.paused = true,
            Event::Resume => {
                self.paused = false;
                if self.state == State::Parked {
                    self.go_on();
                }
            }
            Event::Stop => self.leave(Why::HandedBack),
            Event::StopTimeout => self.out_of_time(),
            Event::Expired => self.expired(),
            Event::Granted => self.granted(),
            Event::Lost => self.lost(),
            Event::SourceFailed => self.leave(Why::SourceFailed),
            Event::NoProgress => self.give_up(),
            Event::Unreadable(_) | Event::DeadLettered | Event::RetryDue => {}
        }
    }

    fn call_if_idle(&mut self, call: Call) {
        if self.may_deliver() {
            self.state = State::Calling(call);
        }
    }

    /// The next thing to do when nothing runs and the permit holds.
    fn go_on(&mut self) {
        self.state = match self.leaving {
            Some(why) => self.farewell(why),
            None if self.initialized => State::Idle,
            None => State::Calling(Call::Initialize),
        };
    }

    /// An instance that was never initialized has nothing to say.
    fn farewell(&self, why: Why) -> State {
        if self.initialized { State::Calling(Call::Shutdown) } else { State::Settling(why) }
    }

    fn returned(&mut self) {
        match self.state {
            State::Calling(Call::Initialize) => {
                self.initialized = true;
                self.go_on();
            }
            State::Calling(Call::Process) => self.go_on(),
            State::Calling(Call::End) => self.state = State::Settling(Why::Ended),
            State::Calling(Call::Shutdown) => self.state = State::Settling(self.reason()),
            State::Calling(Call::LeaseLost) => self.state = State::Done(Why::Lost),
            State::Outwaiting(call, then) => {
                self.initialized |= call == Call::Initialize;
                self.follow(then, call);
            }
            _ => {}
        }
    }

    fn failed(&mut self, verdict: Verdict, instance: Instance) {
        let (State::Calling(call) | State::Outwaiting(call, _)) = self.state else { return };
        if instance == Instance::Broken {
            self.initialized = false;
        }
        match (self.state, call) {
            // Nothing follows these but the end, whatever they say.
            (State::Calling(_), Call::Shutdown | Call::LeaseLost) => self.returned(),
            (State::Outwaiting(_, then), _) => self.follow(then, call),
            _ if self.leaving.is_some() => self.go_on(),
            _ => self.answered(call, verdict),
        }
    }

    fn answered(&mut self, call: Call, verdict: Verdict) {
        match verdict {
            Verdict::DeadLetter if call == Call::Process => self.state = State::DeadLettering,
            Verdict::Retry => self.state = State::Backoff,
            Verdict::Stop | Verdict::DeadLetter => self.state = State::Parked,
            Verdict::Yield => self.leave_from_rest(Why::Yield),
            Verdict::StopWorker => self.leave_from_rest(Why::StopWorker),
        }
    }

    fn follow(&mut self, then: Then, call: Call) {
        match then {
            Then::Lose => self.lose(call),
            Then::Leave(why) => self.state = self.parting(why, call),
            Then::GoOn(Validity::Current) => self.go_on(),
            Then::GoOn(Validity::Expired) => self.state = State::Suspended,
        }
    }

    fn parting(&self, why: Why, after: Call) -> State {
        if after == Call::Shutdown { State::Settling(why) } else { self.farewell(why) }
    }

    fn reason(&self) -> Why {
        self.leaving.unwrap_or(Why::HandedBack)
    }

    fn leave_from_rest(&mut self, why: Why) {
        self.leaving = Some(why);
        self.state = self.farewell(why);
    }

    /// A batch that runs may finish; anything that only waits is over at once.
    fn leave(&mut self, why: Why) {
        if self.is_leaving() || self.is_losing() {
            return;
        }
        match self.state {
            State::Calling(Call::Process | Call::End) => self.leaving = Some(why),
            // Nothing is lost by not finishing an initialization.
            State::Calling(_) => {
                self.leaving = Some(why);
                self.cut(Then::Leave(why));
            }
            State::Outwaiting(call, _) => {
                self.leaving = Some(why);
                self.state = State::Outwaiting(call, Then::Leave(why));
            }
            // Without validity no user code may run.
            State::Suspended => {
                self.leaving = Some(why);
                self.state = State::Settling(why);
            }
            State::Idle | State::Backoff | State::Parked | State::DeadLettering => {
                self.leave_from_rest(why);
            }
            State::Settling(_) | State::Done(_) => {}
        }
    }

    fn is_losing(&self) -> bool {
        matches!(self.state, State::Calling(Call::LeaseLost) | State::Outwaiting(_, Then::Lose))
    }

    /// Drops the running call if it can be dropped; else what follows has to wait.
    fn cut(&mut self, then: Then) {
        let State::Calling(call) = self.state else { return };
        match self.calls {
            Calls::Cancellable => self.follow(then, call),
            Calls::Blocking => self.state = State::Outwaiting(call, then),
        }
    }

    fn out_of_time(&mut self) {
        match (self.state, self.leaving) {
            // A farewell gets no more time; if it blocks, it still has to be waited for.
            (State::Calling(Call::LeaseLost), _) => self.cut(Then::Lose),
            (State::Calling(_), Some(why)) => self.cut(Then::Leave(why)),
            _ => {}
        }
    }

    fn expired(&mut self) {
        match (self.state, self.leaving) {
            (State::Calling(Call::LeaseLost), _) => {}
            (State::Calling(_), Some(why)) if self.calls == Calls::Cancellable => {
                self.state = State::Settling(why);
            }
            (State::Calling(_), Some(why)) => self.cut(Then::Leave(why)),
            (State::Calling(_), None) => self.cut(Then::GoOn(Validity::Expired)),
            (State::Outwaiting(call, Then::GoOn(_)), _) => {
                self.state = State::Outwaiting(call, Then::GoOn(Validity::Expired));
            }
            (State::Idle | State::DeadLettering, _) => self.state = State::Suspended,
            _ => {}
        }
    }

    fn granted(&mut self) {
        match self.state {
            State::Suspended => self.go_on(),
            State::Outwaiting(call, Then::GoOn(_)) => {
                self.state = State::Outwaiting(call, Then::GoOn(Validity::Current));
            }
            _ => {}
        }
    }

    fn lost(&mut self) {
        match self.state {
            State::Calling(Call::LeaseLost) | State::Done(_) => {}
            State::Calling(_) => self.cut(Then::Lose),
            State::Outwaiting(call, _) => self.state = State::Outwaiting(call, Then::Lose),
            State::Settling(_) => self.state = State::Done(Why::Lost),
            _ => self.lose(Call::Process),
        }
    }

    /// After `shutdown_requested` or `lease_lost` there is nothing left to tell.
    fn lose(&mut self, after: Call) {
        let told = matches!(after, Call::Shutdown | Call::LeaseLost) || !self.initialized;
        self.state = if told { State::Done(Why::Lost) } else { State::Calling(Call::LeaseLost) };
    }

    fn give_up(&mut self) {
        if self.is_leaving() || self.is_losing() {
            return;
        }
        match self.state {
            State::Calling(_) => {
                self.leaving = Some(Why::Yield);
                self.cut(Then::Leave(Why::Yield));
            }
            State::Parked | State::Suspended => {}
            _ => self.leave(Why::Yield),
        }
    }
}

mod ahead;
#[cfg(test)]
mod tests;

pub use ahead::{Ahead, Step};
