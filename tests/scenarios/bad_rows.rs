//! A row of a worker that nobody can read: told by its key, and the watch over the others goes on.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use kcl_core::protocol::moves::{Terms, send, take};
use kcl_core::protocol::{
    ConditionalWrite, EntryId, InboxEntry, LeaseTiming, LeaseWrite, RowKey, Rules, WorkerId,
    WorkerRow, WorkerState, WorkerWrite,
};
use kcl_core::{EventKind, LeaseTable, WorkerError};
use kcl_testkit::history::check_safety;

use crate::fleet::{D, Fleet};
use crate::scribbled::{Scribbled, bad, events, id, shards, start, start_with, told};

const SETTLED: Duration = Duration::from_secs(10);

fn is_fence(kind: &EventKind) -> bool {
    matches!(kind, EventKind::FencedOther { .. })
}

async fn owned_by(fleet: &Fleet, owner: &WorkerId) -> usize {
    let leases = fleet.leases().await.into_iter();
    leases.filter(|lease| lease.owner.as_ref() == Some(owner)).count()
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_read_the_rows_of_the_others_ends_and_names_the_row() {
    let mut fleet = Fleet::new(2);
    let table = Scribbled::new(&fleet);
    let (other, _running) = start(&mut fleet, &table);
    fleet.pass(SETTLED).await;
    let key = RowKey::Worker(other.status().worker.unwrap());
    table.scribble(other.status().worker);
    // As it binds its stream; and once it has registered, as one does that was declared dead.
    for (in_time, has_registered) in [(0, false), (1, true)] {
        table.in_time.store(in_time, Relaxed);
        let (handle, task) = start(&mut fleet, &table);
        let ended = tokio::time::timeout(D * 2, task).await.expect("it waits for ever").unwrap();
        let Err(WorkerError::Table(error)) = ended else { panic!("{ended:?}") };
        assert_eq!(error, bad(&key));
        assert_eq!(handle.status().workers_unreadable.is_some(), has_registered);
        let workers = fleet.workers().await.into_iter();
        let gone: Vec<_> = workers.filter(|row| row.state == WorkerState::Gone).collect();
        let left = handle.status().worker.filter(|_| has_registered);
        assert_eq!(gone.iter().map(|row| &row.id).collect::<Vec<_>>(), Vec::from_iter(&left));
    }
    assert_eq!(other.status().shards.len(), 2, "who runs keeps what it holds");
}

#[tokio::test(start_paused = true)]
async fn the_death_of_others_is_seen_as_soon_beside_a_row_that_nobody_can_read() {
    // The last look that saw the row may be up to a heartbeat old.
    for offset in 0..8 {
        let mut fleet = Fleet::new(6);
        let table = Scribbled::new(&fleet);
        let [_one, victim, third] = [(); 3].map(|()| start(&mut fleet, &table));
        fleet.pass(SETTLED + D / 24 * offset).await;
        table.scribble(Some(id(&third)));
        // Each beats once more.
        fleet.pass(D * 2 / 5).await;
        let dead = id(&victim);
        victim.1.abort();
        // A look may come a heartbeat later than the last beat; then `D`, and the takes.
        fleet.pass(D + D / 3 + D / 6).await;
        assert_eq!(owned_by(&fleet, &dead).await, 0, "after {offset}: nobody took them");
        assert_eq!(check_safety(&fleet.recorder.history()), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_look_forgets_nobody() {
    let mut fleet = Fleet::new(6);
    let table = Scribbled::new(&fleet);
    let [one, victim] = [(); 2].map(|()| start(&mut fleet, &table));
    fleet.pass(SETTLED).await;
    let dead = id(&victim);
    victim.1.abort();
    fleet.pass(D / 2).await;
    table.refused.store(true, Relaxed);
    fleet.pass(D / 3).await;
    assert!(one.0.status().workers_unreadable.is_some());
    table.refused.store(false, Relaxed);
    // As soon as without it: a look may come a heartbeat after the last beat; then `D`, the takes.
    fleet.pass(D / 6 + D / 3 + D / 6).await;
    assert_eq!(owned_by(&fleet, &dead).await, 0, "nobody took them");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_nobody_can_read_is_told_once_until_it_is_mended() {
    let mut fleet = Fleet::new(6);
    let table = Scribbled::new(&fleet);
    let [one, victim, third] = [(); 3].map(|()| start(&mut fleet, &table));
    fleet.pass(SETTLED).await;
    let key = RowKey::Worker(id(&third));
    table.scribble(Some(id(&third)));
    fleet.pass(SETTLED).await;
    for running in [&one, &third] {
        assert_eq!(told(&fleet, &id(running)), [bad(&key).to_string()]);
        assert_eq!(running.0.status().workers_unreadable, Some(bad(&key)));
    }
    victim.1.abort();
    fleet.pass(D * 2).await;
    assert_eq!(shards(&one) + shards(&third), 6);
    table.scribble(None);
    fleet.pass(SETTLED).await;
    assert_eq!(one.0.status().workers_unreadable, None);
    let fourth = start(&mut fleet, &table);
    fleet.pass(SETTLED).await;
    assert_eq!([&one, &third, &fourth].map(shards), [2, 2, 2]);
    assert_eq!(fleet.amiss().await, []);
    assert_eq!(check_safety(&fleet.recorder.history()), []);
}

#[tokio::test(start_paused = true)]
async fn who_did_not_declare_it_dead_takes_leases_of_the_dead_beside_a_bad_row() {
    // One has no room, the other has: whichever of them declares it dead.
    let (mut judges, mut full_ones) = (BTreeSet::new(), BTreeSet::new());
    for offset in 0..8 {
        let mut fleet = Fleet::new(6);
        let table = Scribbled::new(&fleet);
        // It looks just before the victim beats, and the full one soon after.
        let [free, victim, third] = [(); 3].map(|()| start(&mut fleet, &table));
        fleet.pass(D / 9).await;
        let full = fleet.config().max_leases_per_worker(1);
        let full = start_with(&fleet, &table, full);
        fleet.pass(SETTLED + D / 24 * offset).await;
        table.scribble(Some(id(&third)));
        third.1.abort();
        fleet.pass(D * 2 / 5).await;
        let dead = id(&victim);
        victim.1.abort();
        fleet.pass(D + D / 3 + D / 3).await;
        assert_eq!(owned_by(&fleet, &dead).await, 0, "after {offset}: nobody took them");
        assert_eq!(shards(&full), 1);
        assert!(shards(&free) > 2);
        judges.extend(events(&fleet).filter(|(_, kind)| is_fence(kind)).map(|(judge, _)| judge));
        full_ones.insert(id(&full));
        assert_eq!(check_safety(&fleet.recorder.history()), []);
    }
    assert!(!judges.is_disjoint(&full_ones), "it is always the free one");
}

#[tokio::test(start_paused = true)]
async fn leases_of_the_dead_are_taken_beside_a_bad_row_if_who_declared_it_dead_leaves() {
    for offset in 0..8 {
        let mut fleet = Fleet::new(10);
        let table = Scribbled::new(&fleet);
        let [one, victim] = [(); 2].map(|()| start(&mut fleet, &table));
        let third = fleet.config().max_leases_per_worker(1);
        let third = start_with(&fleet, &table, third);
        fleet.pass(D / 9).await;
        let two = start(&mut fleet, &table);
        fleet.pass(SETTLED + D / 24 * offset).await;
        table.scribble(Some(id(&third)));
        third.1.abort();
        fleet.pass(D * 2 / 5).await;
        let dead = id(&victim);
        victim.1.abort();
        let judge = async {
            loop {
                fleet.pass(D / 200).await;
                if let Some((judge, _)) = events(&fleet).find(|(_, kind)| is_fence(kind)) {
                    return judge;
                }
            }
        };
        let judge = tokio::time::timeout(D * 2, judge).await.expect("nobody declared it dead");
        let (leaving, rest) = if judge == id(&one) { (one, two) } else { (two, one) };
        tokio::time::timeout(D, leaving.0.shutdown()).await.expect("it does not leave");
        fleet.pass(D / 3 * 2).await;
        assert_eq!(owned_by(&fleet, &dead).await, 0, "after {offset}: nobody took them");
        assert_eq!(owned_by(&fleet, &id(&rest)).await, 9);
        assert_eq!(check_safety(&fleet.recorder.history()), []);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_to_a_worker_whose_row_nobody_can_read() {
    // Before and after the others have looked.
    for known_for in [Duration::ZERO, D] {
        let mut fleet = Fleet::new(5);
        let table = Scribbled::new(&fleet);
        let mut running = Vec::from([(); 3].map(|()| start(&mut fleet, &table)));
        fleet.pass(SETTLED + D / 7).await;
        // The one with the fewest shards is whom a shard goes to.
        running.sort_by_key(shards);
        let [third, one, two] = running.try_into().ok().unwrap();
        assert_eq!([&third, &one, &two].map(shards), [1, 2, 2]);
        table.scribble(Some(id(&third)));
        fleet.pass(known_for).await;
        let shard = one.0.status().shards[0].shard.clone();
        one.0.drain(&shard).await.unwrap();
        fleet.pass(D).await;
        // Who learns it only now keeps the shard.
        let kept = if known_for.is_zero() { [2, 2] } else { [1, 3] };
        assert_eq!([&one, &two].map(shards), kept);
        tokio::time::timeout(D, one.0.shutdown()).await.expect("it does not leave");
        one.1.await.unwrap().unwrap();
        fleet.pass(D).await;
        assert_eq!([shards(&third), shards(&two)], [1, 4]);
        assert_eq!(check_safety(&fleet.recorder.history()), []);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ask_of_a_worker_whose_row_nobody_can_read_is_refused() {
    let mut fleet = Fleet::new(4);
    let table = Scribbled::new(&fleet);
    let one = start(&mut fleet, &table);
    fleet.pass(SETTLED).await;
    let stranger = WorkerId::from("stranger");
    table.scribble(Some(stranger.clone()));
    let leases = fleet.leases().await.into_iter().map(|lease| (lease.key, lease.fence)).collect();
    let ask = InboxEntry::Ask { leases, to: stranger, have: 0 };
    let ask = send(&id(&one), EntryId(7), ask);
    assert!(fleet.table.write(&ConditionalWrite::Worker(ask)).await.unwrap().is_won());
    fleet.pass(D).await;
    assert_eq!(shards(&one), 4);
    let rows = fleet.workers().await;
    assert!(rows[0].inbox.is_empty(), "it stands undecided");
}

#[tokio::test(start_paused = true)]
async fn a_worker_leaves_although_no_reply_says_that_its_ask_was_put() {
    // In a large fleet it is not one of those the worker watches.
    for others in [1, 34] {
        let mut fleet = Fleet::new(others * 2);
        let table = Scribbled::new(&fleet);
        table.replies_with_rows.store(true, Relaxed);
        table.at_ask.store(true, Relaxed);
        let _others = Vec::from_iter((0..others).map(|_| fleet.start()));
        fleet.pass(SETTLED).await;
        let one = start(&mut fleet, &table);
        fleet.pass(SETTLED).await;
        assert!(table.over.lock().unwrap().is_some(), "it asked for nothing");
        tokio::time::timeout(D, one.0.shutdown()).await.expect("it does not leave");
        one.1.await.unwrap().unwrap();
        assert_eq!(check_safety(&fleet.recorder.history()), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_leaves_beside_a_lease_whose_owner_nobody_can_read() {
    let mut fleet = Fleet::new(4);
    let table = Scribbled::new(&fleet);
    table.replies_with_rows.store(true, Relaxed);
    let one = start(&mut fleet, &table);
    fleet.pass(SETTLED + D / 7).await;
    let row = WorkerRow::live(WorkerId::from("stranger"), LeaseTiming::new(D, D));
    table.scribble(Some(row.id.clone()));
    let lease = fleet.leases().await.remove(0);
    let terms = Terms { generation: 0, rules: Rules::default() };
    let takes: LeaseWrite = take(&lease, &row.id, terms);
    for write in
        [ConditionalWrite::Worker(WorkerWrite::Create(row)), ConditionalWrite::Lease(takes)]
    {
        assert!(fleet.table.write(&write).await.unwrap().is_won());
    }
    tokio::time::timeout(D, one.0.shutdown()).await.expect("it does not leave");
    one.1.await.unwrap().unwrap();
    let missed = |kind: &EventKind| matches!(kind, EventKind::OwnerMissing { .. });
    assert!(events(&fleet).any(|(_, kind)| missed(&kind)));
}

#[tokio::test(start_paused = true)]
async fn no_worker_is_judged_by_an_old_row_beside_a_bad_one() {
    let mut fleet = Fleet::new(6);
    let table = Scribbled::new(&fleet);
    let [one, third] = [(); 2].map(|()| start(&mut fleet, &table));
    fleet.pass(SETTLED).await;
    table.scribble(Some(id(&third)));
    fleet.pass(D).await;
    // Its row follows, which nobody sees.
    let shard = third.0.status().shards[0].shard.clone();
    third.0.drain(&shard).await.unwrap();
    fleet.pass(Duration::from_secs(150)).await;
    assert_eq!([&one, &third].map(shards), [4, 2]);
    assert!(events(&fleet).any(|(_, kind)| matches!(kind, EventKind::RoundWon { .. })));
    assert!(!events(&fleet).any(|(_, kind)| matches!(kind, EventKind::Disagrees { .. })));
}
