//! Properties of the pure values, on random ones.

use std::collections::{BTreeMap, BTreeSet};

use kcl_protocol::hash_audit::audit;
use kcl_protocol::lineage::startable;
use kcl_protocol::watch::watched;
use kcl_protocol::{Checkpoint, HashKeyRange, Lease, LeaseKey, SequenceNumber, ShardId, WorkerId};
use num_bigint::BigUint;
use proptest::prelude::*;

fn big(number: SequenceNumber) -> BigUint {
    let (high, low) = number.parts();
    (BigUint::from(high) << 128) + BigUint::from(low)
}

fn any_number() -> impl Strategy<Value = SequenceNumber> {
    (any::<u64>(), any::<u128>()).prop_map(|(high, low)| SequenceNumber::from_parts(high, low))
}

proptest! {
    #[test]
    fn a_sequence_number_prints_and_reads_as_the_big_integer_it_is(number in any_number()) {
        let text = number.to_string();
        prop_assert_eq!(&text, &big(number).to_string());
        prop_assert_eq!(text.parse::<SequenceNumber>().unwrap(), number);
    }

    #[test]
    fn sequence_numbers_are_ordered_and_added_as_big_integers(
        a in any_number(), b in any_number(), by in any::<u128>()
    ) {
        prop_assert_eq!(a.cmp(&b), big(a).cmp(&big(b)));
        let sum = big(a) + BigUint::from(by);
        prop_assert_eq!(a.checked_add(by).map(big), Some(sum).filter(|sum| sum.bits() <= 192));
    }

    #[test]
    fn what_is_no_sequence_number_is_refused(text in "\\PC{0,70}") {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let fits = is_number && text.parse::<BigUint>().unwrap().bits() <= 192;
        prop_assert_eq!(text.parse::<SequenceNumber>().is_ok(), fits);
    }

    #[test]
    fn an_even_split_tiles_the_space(parts in 1u32..5000) {
        let ranges = HashKeyRange::split_evenly(parts);
        prop_assert_eq!(ranges.len(), parts as usize);
        prop_assert_eq!(ranges[0].start, 0);
        prop_assert_eq!(ranges[ranges.len() - 1].end, u128::MAX);
        prop_assert!(ranges.windows(2).all(|pair| pair[0].is_followed_by(&pair[1])));
    }
}

/// A stream resharded at random: each step splits a shard or merges two neighbours, and the
/// shards before it have ended.
fn lineage(steps: &[(bool, usize)]) -> BTreeMap<LeaseKey, Lease> {
    let mut leases = BTreeMap::new();
    let mut open: Vec<ShardId> = Vec::new();
    let add = |leases: &mut BTreeMap<LeaseKey, Lease>, range, parents: BTreeSet<ShardId>| {
        let id = ShardId::from(format!("shardId-{:012}", leases.len()));
        let key = LeaseKey::new(id.as_str());
        let mut lease = Lease::unowned(key.clone(), Checkpoint::TrimHorizon, range);
        lease.parents = parents;
        leases.insert(key, lease);
        id
    };
    for range in HashKeyRange::split_evenly(3) {
        open.push(add(&mut leases, range, BTreeSet::new()));
    }
    for (split, at) in steps {
        let at = at % open.len();
        let range = |leases: &BTreeMap<LeaseKey, Lease>, id: &ShardId| {
            leases[&LeaseKey::new(id.as_str())].range
        };
        if *split || open.len() < 2 {
            let HashKeyRange { start, end } = range(&leases, &open[at]);
            let middle = start + (end - start) / 2;
            let parent = BTreeSet::from([open[at].clone()]);
            let lower = HashKeyRange { start, end: middle };
            let upper = HashKeyRange { start: middle + 1, end };
            open[at] = add(&mut leases, lower, parent.clone());
            open.insert(at + 1, add(&mut leases, upper, parent));
        } else {
            let at = at.min(open.len() - 2);
            let (lower, upper) = (range(&leases, &open[at]), range(&leases, &open[at + 1]));
            let parents = BTreeSet::from([open[at].clone(), open.remove(at + 1)]);
            let whole = HashKeyRange { start: lower.start, end: upper.end };
            open[at] = add(&mut leases, whole, parents);
        }
    }
    leases
}

proptest! {
    #[test]
    fn working_through_any_lineage_never_leaves_a_hole_and_ends_with_the_open_shards(
        steps in prop::collection::vec((any::<bool>(), 0usize..9), 0..9), order in any::<u64>()
    ) {
        let mut leases = lineage(&steps);
        let listed: BTreeSet<_> = leases.keys().map(LeaseKey::shard).collect();
        let is_parent = |leases: &BTreeMap<LeaseKey, Lease>, key: &LeaseKey| {
            leases.values().any(|lease| lease.parents.contains(&key.shard()))
        };
        for turn in 0..100usize {
            prop_assert_eq!(audit(&leases, &listed), vec![]);
            let ready: Vec<LeaseKey> = leases
                .values()
                .filter(|lease| startable(lease, &leases, &listed))
                .map(|lease| lease.key.clone())
                .filter(|key| is_parent(&leases, key))
                .collect();
            if ready.is_empty() {
                break;
            }
            let pick = ready[(order as usize).wrapping_add(turn) % ready.len()].clone();
            leases.get_mut(&pick).unwrap().checkpoint = Checkpoint::ShardEnd;
        }
        let unfinished = leases.values().filter(|lease| !lease.is_ended());
        prop_assert!(unfinished.clone().all(|lease| startable(lease, &leases, &listed)));
        prop_assert!(unfinished.clone().all(|lease| !is_parent(&leases, &lease.key)));
    }

    #[test]
    fn a_child_never_starts_before_its_parents(
        steps in prop::collection::vec((any::<bool>(), 0usize..9), 1..9)
    ) {
        let leases = lineage(&steps);
        let listed: BTreeSet<_> = leases.keys().map(LeaseKey::shard).collect();
        let children = leases.values().filter(|lease| !lease.parents.is_empty());
        for child in children {
            prop_assert!(!startable(child, &leases, &listed));
        }
    }
}

#[test]
fn an_old_listing_says_nothing_of_a_missing_parent() {
    let leases = lineage(&[(true, 0)]);
    let child = leases.values().next_back().unwrap().clone();
    let mut without_parent = leases.clone();
    without_parent.remove(&LeaseKey::new("shardId-000000000000"));
    let old: BTreeSet<_> =
        ["shardId-000000000001", "shardId-000000000002"].map(ShardId::new).into();
    assert!(!startable(&child, &without_parent, &old));
    let new = old.into_iter().chain([child.key.shard()]).collect();
    assert!(startable(&child, &without_parent, &new));
}

#[test]
fn up_to_32_others_are_all_watched_and_above_only_the_three_next_in_the_ring() {
    let ids: Vec<WorkerId> = (0..40).map(|n| WorkerId::from(format!("w{n:02}"))).collect();
    assert_eq!(watched(&ids[0], ids[1..=32].iter()), None);
    let after = |me: usize| watched(&ids[me], ids.iter().filter(|id| **id != ids[me])).unwrap();
    assert_eq!(after(5), ids[6..9]);
    assert_eq!(after(38), [ids[39].clone(), ids[0].clone(), ids[1].clone()]);
    let mut seen: Vec<_> = (0..40).flat_map(after).collect();
    seen.sort();
    assert!(ids.iter().all(|id| seen.iter().filter(|seen| *seen == id).count() == 3));
}
