//! The checkers of rows, which need no history.

use kcl_core::Shard;
use kcl_core::protocol::{LeaseTiming, WorkerRow, WorkerState};
use kcl_testkit::history::{
    every_open_shard_is_held_evenly, every_place_has_a_live_worker, leases_tile_the_hash_space,
};

use super::*;

fn rows(owners: &[(&str, Option<&str>)]) -> BTreeMap<LeaseKey, Lease> {
    let leased = |(key, owner): &(&str, Option<&str>)| leased(key, *owner, Checkpoint::TrimHorizon);
    owners.iter().map(leased).map(|lease| (lease.key.clone(), lease)).collect()
}
fn worker(id: &str, state: WorkerState) -> WorkerRow {
    let timing = LeaseTiming::new(Duration::from_secs(3), Duration::ZERO);
    WorkerRow { state, ..WorkerRow::live(WorkerId::new(id), timing) }
}
fn shards(ids: &[&str]) -> Vec<Shard> {
    let shard = |id: &&str| Shard {
        id: ShardId::from(*id),
        parents: Default::default(),
        range: HashKeyRange::FULL,
        is_open: true,
        tip: None,
    };
    ids.iter().map(shard).collect()
}

#[test]
fn a_shard_that_nobody_alive_holds_and_an_uneven_fleet_are_found() {
    let fleet = [worker("v", WorkerState::Live), worker("w", WorkerState::Live)];
    let judge = |workers: &[WorkerRow], leases: &BTreeMap<LeaseKey, Lease>, ids: &[&str]| {
        every_open_shard_is_held_evenly(s(9), workers, leases, &shards(ids))
    };
    let (v, w) = (Some("v"), Some("w"));
    let three = rows(&[("a", v), ("b", w), ("c", v)]);
    assert_eq!(judge(&fleet, &three, &["a", "b", "c"]), []);
    let orphan = rows(&[("a", v), ("b", None)]);
    is_found(&judge(&fleet, &orphan, &["a", "b"]), "P6", "nobody alive holds the open shard b");
    is_found(&judge(&fleet, &rows(&[("a", v)]), &["a", "b"]), "P6", "the open shard b");
    let dead = [worker("v", WorkerState::Live), worker("w", WorkerState::Fenced)];
    is_found(&judge(&dead, &rows(&[("a", v), ("b", w)]), &["a", "b"]), "P6", "open shard b");
    let mut uneven = rows(&[("a", v), ("b", v)]);
    is_found(&judge(&fleet, &uneven, &["a", "b"]), "P6", "loads differ by 2");
    // One that is parked is held, and is no load.
    for lease in uneven.values_mut().take(1) {
        lease.parked = Some(Parked { reason: "poisoned".into(), at: None });
    }
    assert_eq!(judge(&fleet, &uneven, &["a", "b"]), []);
}

#[test]
fn a_place_without_a_live_worker_and_a_live_row_without_a_place_are_found() {
    let places = |ids: [Option<&str>; 2]| {
        let names = ["v0".to_owned(), "w1".to_owned()];
        names.into_iter().zip(ids.map(|id| id.map(WorkerId::new))).collect()
    };
    let judge =
        |workers: &[WorkerRow], ids| every_place_has_a_live_worker(s(9), workers, &places(ids));
    let (v, w) = (worker("v", WorkerState::Live), worker("w", WorkerState::Live));
    let dead = |state| [v.clone(), w.clone(), worker("u", state)];
    let both = [Some("v"), Some("w")];
    assert_eq!(judge(&[v.clone(), w.clone()], both), []);
    assert_eq!(judge(&dead(WorkerState::Fenced), both), []);
    is_found(&judge(&dead(WorkerState::Live), both), "P6", "u is live and has no place");
    is_found(&judge(std::slice::from_ref(&v), both), "P6", "w of w1 has no live row");
    is_found(
        &judge(std::slice::from_ref(&v), [Some("v"), None]),
        "P6",
        "w1 has no worker that registered",
    );
    for not_its_own in [worker("w", WorkerState::Fenced), WorkerRow { draining: true, ..w.clone() }]
    {
        is_found(&judge(&[v.clone(), not_its_own], both), "P6", "w of w1 has no live row");
    }
}

#[test]
fn a_hole_and_an_overlap_in_the_hash_space_are_found() {
    const HALF: u128 = 1 << 127;
    let with = |ranges: &[(&str, u128, u128)]| -> BTreeMap<LeaseKey, Lease> {
        let lease = |(key, start, end): &(&str, u128, u128)| {
            let range = HashKeyRange { start: *start, end: *end };
            let lease = Lease::unowned(LeaseKey::from(*key), Checkpoint::TrimHorizon, range);
            (lease.key.clone(), lease)
        };
        ranges.iter().map(lease).collect()
    };
    let judge = |leases| leases_tile_the_hash_space(s(9), &leases, &shards(&["a", "b"]));
    assert_eq!(judge(with(&[("a", 0, HALF - 1), ("b", HALF, u128::MAX)])), []);
    let hole = judge(with(&[("a", 0, HALF - 2), ("b", HALF, u128::MAX)]));
    is_found(&hole, "P8", "covered 0 times");
    is_found(&judge(with(&[("a", 0, HALF), ("b", HALF, u128::MAX)])), "P8", "covered 2 times");
    let mut waits = with(&[("a", 0, u128::MAX), ("b", 0, u128::MAX)]);
    let child = waits.get_mut(&LeaseKey::from("b")).unwrap();
    child.parents.insert(shard());
    assert_eq!(judge(waits), [], "a child that waits for its parent overlaps with nothing");
}
