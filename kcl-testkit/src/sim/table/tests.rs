//! Each kind of fault, alone in a request, does to the table what its name says. The seeds are
//! searched: what strikes them is drawn as in any run.

use kcl_core::TokioClock;
use kcl_core::protocol::{
    Checkpoint, Fence, HashKeyRange, Lease, LeaseChange, LeaseCondition, LeaseKey, LeaseTiming,
    LeaseWrite, Moment, Ordinal, WorkerChange, WorkerCondition, WorkerId, WorkerRow, WorkerWrite,
};
use kcl_lease_local::LocalEffects;

use super::*;
use crate::history::{Entry, What};

/// In one of so many seeds every kind strikes the first request alone.
const SEEDS: u64 = 20_000;
/// So many rows, or else a torn scan may look whole.
const ROWS: usize = 20;

/// A table of workers' rows, seen through a bad network.
struct Bad {
    inner: MemoryLeaseTable,
    seen: FaultyTable,
}

fn id(number: usize) -> WorkerId {
    WorkerId::new(format!("w{number}"))
}

/// One more heartbeat, whatever the row says: it can be seen how often it applied.
fn beat(number: usize) -> ConditionalWrite {
    let (when, change) = (Vec::<WorkerCondition>::new(), vec![WorkerChange::Beat]);
    ConditionalWrite::Worker(WorkerWrite::Update { id: id(number), when, change })
}

impl Bad {
    /// With the faults of this seed, which strike for so long.
    async fn of(seed: u64, faults: Duration) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(0));
        let inner = MemoryLeaseTable::new();
        for number in 0..ROWS {
            let timing = LeaseTiming::new(Duration::from_secs(3), Duration::ZERO);
            let row = WorkerRow::live(id(number), timing);
            inner.write(&ConditionalWrite::Worker(WorkerWrite::Create(row))).await.unwrap();
        }
        let seen = FaultyTable {
            inner: inner.clone(),
            clock: clock.clone(),
            faults: Faults::new(Draws::new(seed), clock.clone(), clock.monotonic() + faults),
            actor: "w0.1".to_owned(),
            gate: Gate::new(),
            calls: Calls::default(),
            recorder: Recorder::new(clock),
            making: Making::default(),
        };
        Self { inner, seen }
    }
    /// How often the row of the first worker was written beyond its creation.
    async fn beats(&self) -> u64 {
        match self.inner.read(&RowKey::Worker(id(0))).await {
            Ok(Some(Row::Worker(row))) => row.heartbeat - 1,
            other => panic!("{other:?}"),
        }
    }
    /// The same, once no request can be on its way any more.
    async fn beats_later(&self) -> u64 {
        tokio::time::sleep(LATEST + Duration::from_secs(1)).await;
        self.beats().await
    }
}

/// What a heartbeat came to that this kind alone struck, how long it took, and the table.
async fn struck(kind: Kind) -> (Result<CasOutcome, TableError>, Duration, Bad) {
    for seed in 0..SEEDS {
        let bad = Bad::of(seed, Duration::from_secs(60)).await;
        let start = bad.seen.clock.monotonic();
        let outcome = bad.seen.write(&beat(0)).await;
        let took = bad.seen.clock.monotonic().since(start);
        if bad.seen.faults.by_kind().into_iter().eq([(kind, 1)]) {
            return (outcome, took, bad);
        }
    }
    panic!("{kind:?} never struck")
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_lost_never_applies_and_its_sender_does_not_know() {
    let (outcome, took, bad) = struck(Kind::LostRequest).await;
    assert!(matches!(outcome, Err(TableError::Unknown(_))), "{outcome:?}");
    assert!(took >= TIMEOUT, "{took:?}");
    assert_eq!(bad.beats_later().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_reply_is_lost_has_applied_and_its_sender_does_not_know() {
    let (outcome, _, bad) = struck(Kind::LostReply).await;
    assert!(matches!(outcome, Err(TableError::Unknown(_))), "{outcome:?}");
    assert_eq!((bad.beats().await, bad.beats_later().await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_late_request_applies_after_its_sender_gave_up() {
    let mut late = 0;
    for seed in 0..SEEDS {
        let bad = Bad::of(seed, Duration::from_secs(60)).await;
        let outcome = bad.seen.write(&beat(0)).await;
        if !bad.seen.faults.by_kind().into_iter().eq([(Kind::AppliedLate, 1)]) {
            continue;
        }
        assert!(matches!(outcome, Err(TableError::Unknown(_))), "{outcome:?}");
        late += u32::from(bad.beats().await == 0);
        assert_eq!(bad.beats_later().await, 1);
        if late == 3 {
            return;
        }
    }
    panic!("no request was late")
}

#[tokio::test(start_paused = true)]
async fn a_request_that_applies_twice_is_answered_once() {
    let (outcome, _, bad) = struck(Kind::AppliedTwice).await;
    assert!(outcome.is_ok_and(|outcome| outcome.is_won()));
    assert_eq!((bad.beats().await, bad.beats_later().await), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_takes_longer_than_any_other() {
    let (outcome, took, bad) = struck(Kind::Delayed).await;
    assert!(outcome.is_ok_and(|outcome| outcome.is_won()));
    assert!(took > Duration::from_micros(2500), "{took:?}");
    assert_eq!(bad.beats_later().await, 1);
}

#[tokio::test(start_paused = true)]
async fn throttles_conflicts_and_outages_change_nothing_and_say_so() {
    for kind in [Kind::Throttled, Kind::Conflict, Kind::Outage] {
        let (outcome, _, bad) = struck(kind).await;
        let is_told = match kind {
            Kind::Throttled => matches!(outcome, Err(TableError::Throttled)),
            Kind::Conflict => matches!(outcome, Err(TableError::Conflict)),
            _ => matches!(outcome, Err(TableError::Unavailable(_))),
        };
        assert!(is_told, "{kind:?}: {outcome:?}");
        assert_eq!(bad.beats_later().await, 0, "{kind:?}");
    }
}

/// From when to when the table cannot be reached, in steps of 50 ms, as this worker finds it.
async fn outages(seed: u64, actor: &str) -> Vec<(Moment, Moment)> {
    let bad = Bad::of(seed, Duration::from_secs(1000)).await;
    let seen = FaultyTable { actor: actor.to_owned(), ..bad.seen };
    let mut found: Vec<(Moment, Moment)> = Vec::new();
    let (start, mut was_out) = (seen.clock.monotonic(), false);
    while seen.faults.are_on() {
        let (now, is_out) = (seen.clock.monotonic(), seen.is_out());
        match found.last_mut().filter(|_| was_out) {
            _ if !is_out => {}
            Some(last) => last.1 = now,
            None => found.push((now, now)),
        }
        was_out = is_out;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Those alone that the run does not cut off.
    found.retain(|(from, to)| *from > start && *to + WINDOW < seen.faults.until());
    found
}

#[tokio::test(start_paused = true)]
async fn outages_are_long_and_short_begin_at_any_time_and_are_the_same_for_all() {
    let (mut all, mut delicate, mut spanning) = (0, 0, 0);
    for seed in 0..16 {
        let found = outages(seed, "w0.1").await;
        assert_eq!(found, outages(seed, "w1.4").await, "seed {seed}");
        for (from, to) in found {
            let lasts = to.since(from);
            all += 1;
            // With leases of 3 s: from H to 2 D.
            let (one, six) = (Duration::from_secs(1), Duration::from_secs(6));
            delicate += u32::from((one..six).contains(&lasts));
            spanning += u32::from(from.0.as_secs() / 10 < to.0.as_secs() / 10);
            assert!(lasts >= SHORTEST_OUTAGE - Duration::from_millis(100), "{lasts:?}");
        }
    }
    assert!(all > 30, "{all}");
    assert!(delicate * 3 > all, "{delicate} of {all} are delicate");
    assert!(spanning * 5 > all && spanning < all, "{spanning} of {all} go into the next window");
}

/// The heartbeats of all rows in one scan, while all rows are written again and again.
async fn scanned(bad: &Bad) -> Vec<u64> {
    let writer = async {
        loop {
            for number in 0..ROWS {
                bad.inner.write(&beat(number)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let rows = tokio::select! { biased;
        rows = bad.seen.scan(Scan::Coordination) => rows.unwrap_or_default(),
        () = writer => unreachable!(),
    };
    rows.into_iter().filter_map(Row::into_worker).map(|row| row.heartbeat).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stale_scan_shows_each_row_once_and_some_older_than_others() {
    let bad = Bad::of(0, Duration::ZERO).await;
    let whole = scanned(&bad).await;
    assert!(whole.len() == ROWS && whole.iter().all(|beats| beats == &whole[0]), "{whole:?}");
    for seed in 0..SEEDS {
        let bad = Bad::of(seed, Duration::from_secs(60)).await;
        let mut beats = scanned(&bad).await;
        if bad.seen.faults.by_kind().into_iter().eq([(Kind::StaleScan, 1)]) {
            assert_eq!(beats.len(), ROWS);
            beats.sort_unstable();
            beats.dedup();
            assert_eq!(beats.len(), 2, "rows of two moments");
            return;
        }
    }
    panic!("no scan was stale")
}

#[tokio::test(start_paused = true)]
async fn replies_wait_for_a_worker_that_stands_still_and_are_cut_off_from_one_that_sleeps() {
    for sleeps in [false, true] {
        let bad = Bad::of(0, Duration::ZERO).await;
        let seen = bad.seen.clone();
        let request = tokio::spawn(async move { seen.write(&beat(0)).await });
        tokio::task::yield_now().await;
        bad.seen.gate.set_open(false);
        if sleeps {
            bad.seen.gate.cut();
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!request.is_finished(), "its reply is queued");
        assert_eq!(bad.beats().await, 1, "the table does not stand still");
        bad.seen.gate.set_open(true);
        let outcome = request.await.unwrap();
        match outcome {
            Ok(outcome) => assert!(outcome.is_won() && !sleeps),
            Err(error) => assert!(matches!(error, TableError::Unknown(_)) && sleeps, "{error}"),
        }
    }
}

/// What strikes requests about one row, after so many heartbeats of another.
async fn struck_after(beats: usize, seed: u64) -> Vec<u64> {
    let bad = Bad::of(seed, Duration::from_secs(10_000)).await;
    for _ in 0..beats {
        let _ = bad.seen.write(&beat(0)).await;
    }
    let before = bad.seen.faults.struck().len();
    for _ in 0..200 {
        let _ = bad.seen.write(&beat(1)).await;
        let _ = bad.seen.read(&RowKey::Worker(id(1))).await;
        let _ = bad.seen.scan(Scan::Leases).await;
    }
    bad.seen.faults.struck()[before..].iter().map(|struck| struck.id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_write_more_of_one_row_moves_no_fault_of_another_or_of_a_scan() {
    // Outages go by the time, which a request more takes.
    let has_none = |seed: &u64| {
        let clock = Arc::new(TokioClock::starting_at(0));
        !Faults::new(Draws::new(*seed), clock, Moment::default()).is_on(Kind::Outage)
    };
    for seed in (0..).filter(has_none).take(3) {
        let usual = struck_after(0, seed).await;
        assert!(usual.len() > 5, "seed {seed}: {usual:?}");
        assert_eq!(struck_after(3, seed).await, usual, "seed {seed}");
    }
}

/// The row shows the fence that stands: judged by that, no effect would ever be a late one.
#[tokio::test(start_paused = true)]
async fn effects_are_noted_at_the_fence_of_who_sent_them() {
    let bad = Bad::of(0, Duration::ZERO).await;
    let lease = Lease {
        fence: Fence(7),
        ..Lease::unowned("a".into(), Checkpoint::TrimHorizon, HashKeyRange::FULL)
    };
    let key = lease.key.clone();
    bad.seen.write(&ConditionalWrite::Lease(LeaseWrite::Ensure(lease))).await.unwrap();
    let (when, change) = (Vec::new(), vec![LeaseChange::Ordinal(Ordinal(1))]);
    let write = ConditionalWrite::Lease(LeaseWrite::Update { key: key.clone(), when, change });
    let foreign = Effects::new(LocalEffects::new().put("a", "1"));
    for effects in [foreign, effects::sum(&key, 3, Fence(6))] {
        assert!(bad.seen.write_with(&write, &effects).await.unwrap().is_won());
    }
    assert_eq!(effects::committed(&bad.inner, &key), 3);
    let noted = bad.seen.recorder.history().into_iter().filter_map(|entry| match entry.what {
        What::Effects { fence, .. } => Some(fence),
        _ => None,
    });
    assert_eq!(noted.collect::<Vec<_>>(), [Fence(7), Fence(6)]);
}

/// A row as the table has it, whatever its workers hear: the checks of rows go by these notes.
#[tokio::test(start_paused = true)]
async fn what_a_request_changes_in_the_row_of_a_lease_is_noted_and_nothing_else() {
    let bad = Bad::of(0, Duration::ZERO).await;
    let fresh = |key: &str| {
        let row = Lease::unowned(key.into(), Checkpoint::TrimHorizon, HashKeyRange::FULL);
        ConditionalWrite::Lease(LeaseWrite::Ensure(row))
    };
    let update = |when: Vec<LeaseCondition>, change: LeaseChange| {
        let (key, change) = (LeaseKey::from("a"), vec![change]);
        ConditionalWrite::Lease(LeaseWrite::Update { key, when, change })
    };
    let fenced = |fence| vec![LeaseCondition::FenceIs(Fence(fence))];
    let seen = &bad.seen;
    let noted = || {
        let changed = seen.recorder.take().into_iter().filter_map(|entry| match entry.what {
            What::RowWritten { lease, before, after } => Some((lease, before, after)),
            _ => None,
        });
        changed
            .map(|(lease, before, after)| {
                let before = before.map(|before| before.to_string());
                format!("{lease}: {before:?}, {after}")
            })
            .collect::<Vec<_>>()
    };
    seen.write_all(&[fresh("a"), beat(0), fresh("b")]).await.unwrap();
    let made = |key| format!("{key}: None, nobody at fence 0, TRIM_HORIZON");
    assert_eq!(noted(), [made("a"), made("b")]);
    // It stands already; it is another's; it changes nothing that is judged.
    seen.write(&fresh("a")).await.unwrap();
    let late = update(fenced(7), LeaseChange::Checkpoint(Checkpoint::ShardEnd));
    assert!(!seen.write(&late).await.unwrap().is_won());
    seen.write(&update(fenced(0), LeaseChange::Ordinal(Ordinal(4)))).await.unwrap();
    assert_eq!(noted(), Vec::<String>::new());
    seen.write(&update(fenced(0), LeaseChange::Fence(Fence(1)))).await.unwrap();
    let end = update(fenced(1), LeaseChange::Checkpoint(Checkpoint::ShardEnd));
    seen.write_with(&end, &effects::sum(&"a".into(), 3, Fence(1))).await.unwrap();
    let told = [
        "a: Some(\"nobody at fence 0, TRIM_HORIZON\"), nobody at fence 1, TRIM_HORIZON",
        "a: Some(\"nobody at fence 1, TRIM_HORIZON\"), nobody at fence 1, SHARD_END",
    ];
    assert_eq!(noted(), told);
    let delete = LeaseWrite::Delete { key: "b".into(), when: Vec::new() };
    seen.write(&ConditionalWrite::Lease(delete)).await.unwrap();
    let history = seen.recorder.take();
    let [Entry { what: What::RowCollected { lease, before }, .. }] = history.as_slice() else {
        panic!("{history:?}")
    };
    assert_eq!((lease.as_str(), before.fence), ("b", Fence(0)));
}
