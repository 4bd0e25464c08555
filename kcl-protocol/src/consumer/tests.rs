//! Every (state, event), and the sentences that must hold over them.

use std::collections::BTreeSet;

use super::*;

const WHYS: [Why; 6] =
    [Why::HandedBack, Why::Ended, Why::Lost, Why::Yield, Why::StopWorker, Why::SourceFailed];

fn events() -> Vec<Event> {
    let verdicts =
        [Verdict::Retry, Verdict::DeadLetter, Verdict::Yield, Verdict::Stop, Verdict::StopWorker];
    let mut events = vec![
        Event::Ready,
        Event::Drained,
        Event::Returned,
        Event::DeadLettered,
        Event::RetryDue,
        Event::Settled,
        Event::Pause,
        Event::Resume,
        Event::Stop,
        Event::StopTimeout,
        Event::Expired,
        Event::Granted,
        Event::Lost,
        Event::SourceFailed,
        Event::NoProgress,
    ];
    for verdict in verdicts {
        events.push(Event::Failed(verdict, Instance::Usable));
        events.push(Event::Failed(verdict, Instance::Broken));
        events.push(Event::Unreadable(verdict));
    }
    events
}

/// Every consumer that any sequence of events leads to.
fn reachable(calls: Calls) -> BTreeSet<Consumer> {
    let mut seen = BTreeSet::from([Consumer::new(calls)]);
    let mut open: Vec<_> = seen.iter().copied().collect();
    while let Some(consumer) = open.pop() {
        for event in events() {
            let next = after(consumer, &[event]);
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen
}

fn everywhere() -> impl Iterator<Item = Consumer> {
    [Calls::Cancellable, Calls::Blocking].into_iter().flat_map(reachable)
}

fn after(mut consumer: Consumer, events: &[Event]) -> Consumer {
    events.iter().for_each(|event| consumer.on(*event));
    consumer
}

fn started(calls: Calls) -> Consumer {
    after(Consumer::new(calls), &[Event::Returned])
}

#[test]
fn every_state_but_suspended_blocking_calls_is_reached() {
    let states: BTreeSet<_> = everywhere().map(|consumer| consumer.state()).collect();
    let calls = [Call::Initialize, Call::Process, Call::End, Call::Shutdown, Call::LeaseLost];
    for call in calls {
        assert!(states.contains(&State::Calling(call)), "{call:?}");
        assert!(states.iter().any(|s| matches!(s, State::Outwaiting(c, _) if *c == call)));
    }
    for state in
        [State::Idle, State::DeadLettering, State::Backoff, State::Parked, State::Suspended]
    {
        assert!(states.contains(&state), "{state:?}");
    }
    for why in WHYS {
        assert!(states.contains(&State::Done(why)), "{why:?}");
    }
}

#[test]
fn the_end_is_the_end() {
    for consumer in everywhere().filter(|each| matches!(each.state(), State::Done(_))) {
        for event in events() {
            assert_eq!(after(consumer, &[event]).state(), consumer.state(), "{event:?}");
        }
    }
}

#[test]
fn no_batch_starts_after_a_stop() {
    let stopped: BTreeSet<_> = everywhere()
        .filter(|each| each.state() != State::Calling(Call::Process))
        .map(|each| after(each, &[Event::Stop]))
        .collect();
    let (mut seen, mut open) = (stopped.clone(), Vec::from_iter(stopped));
    while let Some(consumer) = open.pop() {
        let process = State::Calling(Call::Process);
        assert_ne!(consumer.state(), process, "{consumer:?}");
        assert!(!consumer.may_deliver(), "{consumer:?}");
        for event in events() {
            let next = after(consumer, &[event]);
            if next.state() != process && seen.insert(next) {
                open.push(next);
            }
        }
    }
}

#[test]
fn a_stop_in_a_batch_lets_it_finish_and_then_says_farewell() {
    let running = after(started(Calls::Cancellable), &[Event::Ready, Event::Stop]);
    assert_eq!(running.state(), State::Calling(Call::Process));
    let farewell = after(running, &[Event::Returned]);
    assert_eq!(farewell.state(), State::Calling(Call::Shutdown));
    let done = after(farewell, &[Event::Returned, Event::Settled]);
    assert_eq!(done.state(), State::Done(Why::HandedBack));
}

#[test]
fn a_stop_that_can_wait_no_longer_drops_the_batch() {
    let running = after(started(Calls::Cancellable), &[Event::Ready, Event::Stop]);
    let dropped = after(running, &[Event::StopTimeout]);
    assert_eq!(dropped.state(), State::Calling(Call::Shutdown));
}

#[test]
fn a_blocking_call_is_waited_for_before_anything_else_is_called() {
    for consumer in reachable(Calls::Blocking) {
        let (State::Calling(call) | State::Outwaiting(call, _)) = consumer.state() else {
            continue;
        };
        for event in events() {
            let next = after(consumer, &[event]);
            let over = matches!(event, Event::Returned | Event::Failed(..));
            let same = matches!(next.state(),
                State::Calling(c) | State::Outwaiting(c, _) if c == call);
            assert!(over || same, "{consumer:?} {event:?} {next:?}");
        }
    }
}

#[test]
fn after_the_loss_nothing_is_called_but_lease_lost() {
    let lost: BTreeSet<_> = everywhere().map(|each| after(each, &[Event::Lost])).collect();
    let (mut seen, mut open) = (lost.clone(), Vec::from_iter(lost));
    while let Some(consumer) = open.pop() {
        if let State::Calling(call) = consumer.state() {
            assert_eq!(call, Call::LeaseLost, "{consumer:?}");
        }
        assert!(!consumer.may_deliver());
        for event in events() {
            let next = after(consumer, &[event]);
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
}

#[test]
fn from_everywhere_a_loss_and_returning_calls_lead_to_the_end() {
    for consumer in everywhere() {
        let end = after(consumer, &[Event::Lost, Event::Returned, Event::Returned]);
        assert!(matches!(end.state(), State::Done(_)), "{consumer:?} {end:?}");
    }
}

#[test]
fn from_everywhere_a_stop_and_returning_calls_lead_to_the_end() {
    for consumer in everywhere() {
        let mut end = after(consumer, &[Event::Stop, Event::StopTimeout]);
        for _ in 0..3 {
            end.on(Event::Returned);
        }
        end.on(Event::Settled);
        assert!(matches!(end.state(), State::Done(_)), "{consumer:?} {end:?}");
    }
}

#[test]
fn a_stop_while_suspended_calls_nobody() {
    let suspended = after(started(Calls::Cancellable), &[Event::Ready, Event::Expired]);
    assert_eq!(suspended.state(), State::Suspended);
    let stopped = after(suspended, &[Event::Stop]);
    assert_eq!(stopped.state(), State::Settling(Why::HandedBack));
}

#[test]
fn only_the_first_reason_to_leave_counts_except_the_loss() {
    let events = [Event::Ready, Event::Stop, Event::SourceFailed, Event::NoProgress];
    let leaving = after(started(Calls::Cancellable), &events);
    let done = after(leaving, &[Event::Returned, Event::Returned, Event::Settled]);
    assert_eq!(done.state(), State::Done(Why::HandedBack));
}

#[test]
fn a_panic_leads_to_a_new_initialization() {
    let failed = Event::Failed(Verdict::Retry, Instance::Broken);
    let retried = after(started(Calls::Cancellable), &[Event::Ready, failed, Event::RetryDue]);
    assert_eq!(retried.state(), State::Calling(Call::Initialize));
}

#[test]
fn each_verdict_leads_to_its_state() {
    let verdicts = [
        (Verdict::Retry, State::Backoff),
        (Verdict::DeadLetter, State::DeadLettering),
        (Verdict::Stop, State::Parked),
        (Verdict::Yield, State::Calling(Call::Shutdown)),
        (Verdict::StopWorker, State::Calling(Call::Shutdown)),
    ];
    for (verdict, state) in verdicts {
        let events = [Event::Ready, Event::Failed(verdict, Instance::Usable)];
        assert_eq!(after(started(Calls::Cancellable), &events).state(), state);
        let unreadable = [Event::Unreadable(verdict)];
        assert_eq!(after(started(Calls::Cancellable), &unreadable).state(), state);
    }
}

#[test]
fn a_record_that_cannot_be_opened_is_judged_only_when_records_may_be_delivered() {
    for consumer in everywhere().filter(|consumer| !consumer.may_deliver()) {
        let judged = after(consumer, &[Event::Unreadable(Verdict::Stop)]);
        assert_eq!(judged, consumer);
    }
}

#[test]
fn what_was_read_ahead_is_delivered_within_the_limit_and_the_rest_waits_for_acks() {
    for (ahead, unacked, limit, step) in [
        (Ahead::Nothing, 0, 10, Step::Wait),
        (Ahead::Records, 0, 10, Step::Deliver { most: 10 }),
        (Ahead::Records, 7, 10, Step::Deliver { most: 3 }),
        (Ahead::Records, 10, 10, Step::Wait),
        (Ahead::Records, 11, 10, Step::Wait),
        (Ahead::Unreadable, 0, 10, Step::Fail),
        (Ahead::Unreadable, 1, 10, Step::Wait),
        (Ahead::End, 0, 10, Step::End),
        (Ahead::End, 1, 10, Step::Wait),
    ] {
        assert_eq!(ahead.step(unacked, limit), step, "{ahead:?} with {unacked} of {limit}");
    }
}

#[test]
fn a_failure_that_is_about_no_record_is_not_dead_lettered() {
    let failed = Event::Failed(Verdict::DeadLetter, Instance::Usable);
    assert_eq!(after(Consumer::new(Calls::Cancellable), &[failed]).state(), State::Parked);
    let ending = after(started(Calls::Cancellable), &[Event::Drained, failed]);
    assert_eq!(ending.state(), State::Parked);
}

#[test]
fn a_pause_lets_the_batch_finish_and_starts_no_other() {
    let paused = after(started(Calls::Cancellable), &[Event::Ready, Event::Pause, Event::Returned]);
    assert_eq!(paused.state(), State::Idle);
    assert!(!paused.may_deliver());
    assert!(after(paused, &[Event::Resume]).may_deliver());
}

#[test]
fn a_parked_shard_goes_on_when_resumed() {
    let failed = Event::Failed(Verdict::Stop, Instance::Usable);
    let parked = after(started(Calls::Cancellable), &[Event::Ready, failed]);
    assert!(!parked.wants_records());
    assert_eq!(after(parked, &[Event::Resume]).state(), State::Idle);
}

#[test]
fn an_undecided_effect_holds_up_every_end_but_the_loss() {
    for consumer in everywhere() {
        let State::Settling(why) = consumer.state() else { continue };
        for event in events() {
            let next = after(consumer, &[event]).state();
            let expected = match event {
                Event::Settled => State::Done(why),
                Event::Lost => State::Done(Why::Lost),
                _ => State::Settling(why),
            };
            assert_eq!(next, expected, "{event:?}");
        }
    }
}

fn process(calls: Calls) -> Consumer {
    after(started(calls), &[Event::Ready])
}

#[test]
fn records_are_worth_reading_until_the_shard_is_left_or_parked() {
    let idle = started(Calls::Cancellable);
    let parked = Event::Failed(Verdict::Stop, Instance::Usable);
    assert!(idle.wants_records() && after(idle, &[Event::Ready]).wants_records());
    assert!(!after(idle, &[Event::Ready, parked]).wants_records());
    assert!(!after(idle, &[Event::Ready, Event::Stop]).wants_records());
    assert!(!after(process(Calls::Blocking), &[Event::Expired]).wants_records());
}

#[test]
fn a_pause_shows_until_it_is_resumed() {
    let paused = after(started(Calls::Cancellable), &[Event::Pause]);
    assert!(paused.is_paused() && !paused.may_deliver());
    let resumed = after(paused, &[Event::Resume]);
    assert!(!resumed.is_paused() && resumed.may_deliver());
}

#[test]
fn a_record_the_sink_took_lets_the_shard_go_on() {
    let failed = Event::Failed(Verdict::DeadLetter, Instance::Usable);
    let waiting = after(process(Calls::Cancellable), &[failed]);
    assert_eq!(waiting.state(), State::DeadLettering);
    assert_eq!(after(waiting, &[Event::DeadLettered]).state(), State::Idle);
    assert_eq!(after(waiting, &[Event::RetryDue]).state(), State::DeadLettering);
}

#[test]
fn without_validity_nothing_runs_until_it_is_back() {
    let suspended = after(process(Calls::Cancellable), &[Event::Expired]);
    assert_eq!(suspended.state(), State::Suspended);
    assert_eq!(after(suspended, &[Event::Granted]).state(), State::Idle);
    let idle = started(Calls::Cancellable);
    assert_eq!(after(idle, &[Event::Expired]).state(), State::Suspended);
    let failed = Event::Failed(Verdict::DeadLetter, Instance::Usable);
    let sinking = after(idle, &[Event::Ready, failed, Event::Expired]);
    assert_eq!(sinking.state(), State::Suspended);
}

#[test]
fn a_blocking_call_that_outlasts_validity_is_followed_by_what_validity_is_then() {
    let out = after(process(Calls::Blocking), &[Event::Expired]);
    assert_eq!(after(out, &[Event::Returned]).state(), State::Suspended);
    let back = after(out, &[Event::Granted]);
    assert_eq!(after(back, &[Event::Returned]).state(), State::Idle);
    let out_again = after(back, &[Event::Expired, Event::Returned]);
    assert_eq!(out_again.state(), State::Suspended);
    let starting = after(Consumer::new(Calls::Blocking), &[Event::Expired, Event::Returned]);
    assert_eq!(starting.state(), State::Suspended);
    let ready = after(starting, &[Event::Granted]).state();
    assert_eq!(ready, State::Idle, "it was initialized once");
}

#[test]
fn a_worker_that_leaves_without_validity_says_no_farewell() {
    for calls in [Calls::Cancellable, Calls::Blocking] {
        let leaving = after(process(calls), &[Event::Stop, Event::Expired]);
        match calls {
            Calls::Cancellable => {
                assert_eq!(leaving.state(), State::Settling(Why::HandedBack));
            }
            Calls::Blocking => {
                let waits = State::Outwaiting(Call::Process, Then::Leave(Why::HandedBack));
                assert_eq!(leaving.state(), waits);
            }
        }
        let farewell = after(process(calls), &[Event::Stop, Event::Returned]);
        let cut_off = after(farewell, &[Event::Expired, Event::Returned]);
        assert_eq!(cut_off.state(), State::Settling(Why::HandedBack));
    }
}

#[test]
fn the_loss_is_told_to_who_was_initialized_and_not_told_before() {
    let unborn = Consumer::new(Calls::Cancellable);
    assert_eq!(after(unborn, &[Event::Lost]).state(), State::Done(Why::Lost));
    let idle = started(Calls::Cancellable);
    assert_eq!(after(idle, &[Event::Lost]).state(), State::Calling(Call::LeaseLost));
    let farewell = after(idle, &[Event::Stop]);
    assert_eq!(after(farewell, &[Event::Lost]).state(), State::Done(Why::Lost));
    let twice = after(process(Calls::Blocking), &[Event::Lost, Event::Lost, Event::Returned]);
    assert_eq!(twice.state(), State::Calling(Call::LeaseLost));
}

#[test]
fn a_shard_without_progress_is_yielded_unless_it_waits_on_purpose() {
    let stuck = after(process(Calls::Cancellable), &[Event::NoProgress]);
    assert_eq!(stuck.state(), State::Calling(Call::Shutdown));
    let ended = after(stuck, &[Event::Returned, Event::Settled]);
    assert_eq!(ended.state(), State::Done(Why::Yield));
    let idle = after(started(Calls::Cancellable), &[Event::NoProgress]);
    assert_eq!(after(idle, &[Event::Returned]).state(), State::Settling(Why::Yield));
    let parked = Event::Failed(Verdict::Stop, Instance::Usable);
    for waiting in [parked, Event::Expired] {
        let waiting = after(process(Calls::Cancellable), &[waiting]);
        assert_eq!(after(waiting, &[Event::NoProgress]), waiting);
    }
    let leaving = after(process(Calls::Cancellable), &[Event::Stop]);
    assert_eq!(after(leaving, &[Event::NoProgress]), leaving);
}
