//! What may become of the row of a lease, and what may not.

use kcl_testkit::history::{
    Standing, no_shard_ends_before_its_children_have_leases, rows_change_as_they_may,
};

use super::*;

/// What a row says of its owner, its fence and its checkpoint.
pub(super) type Says = (&'static str, u64, Checkpoint);

fn standing((owner, fence, checkpoint): Says) -> Standing {
    let owner = (!owner.is_empty()).then(|| WorkerId::new(owner));
    Standing { owner, fence: Fence(fence), checkpoint }
}

/// One row's life: each entry is what a write left it with, after what the one before did.
pub(super) fn row(says: &[Says]) -> Vec<What> {
    let before = std::iter::once(None).chain(says.iter().copied().map(Some));
    let written = |(before, after): (Option<Says>, &Says)| What::RowWritten {
        lease: lease(),
        before: before.map(standing),
        after: standing(*after),
    };
    before.zip(says).map(written).collect()
}

#[test]
fn a_row_that_goes_back_or_changes_its_owner_at_one_fence_is_found() {
    let check: Checker = rows_change_as_they_may;
    let (start, end) = (Checkpoint::TrimHorizon, Checkpoint::ShardEnd);
    let life = [
        ("", 0, start),
        ("v", 1, start),
        ("v", 1, up_to(2)),
        // Adopted, handed over with a checkpoint, released, taken, ended.
        ("v", 2, up_to(2)),
        ("w", 3, up_to(4)),
        ("", 4, up_to(4)),
        ("w", 5, up_to(4)),
        ("", 6, end),
    ];
    passes(check, row(&life));
    let then = |says: Says| row(&[&life[..5], &[says]].concat());
    finds(check, "P5", "not its fence: from w at fence 3", then(("v", 3, up_to(4))));
    finds(check, "P5", "not its fence", then(("", 3, end)));
    finds(check, "P5", "an earlier fence", then(("v", 2, up_to(4))));
    finds(check, "P5", "an earlier fence", then(("w", 2, up_to(4))));
    finds(check, "P4", "an earlier checkpoint", then(("w", 3, up_to(3))));
    // Also if nobody goes on from there, and the next write makes up for it.
    let made_up_for = row(&[&life[..5], &[("w", 3, up_to(3)), ("w", 3, up_to(9))]].concat());
    finds(check, "P4", "an earlier checkpoint", made_up_for);
    for undone in [("", 6, up_to(9)), ("w", 7, end), ("", 7, end)] {
        finds(check, "P8", "had ended", row(&[&life[..], &[undone]].concat()));
    }
    assert_eq!(check_safety(&history(then(("w", 3, up_to(3))))).len(), 1);
}

#[test]
fn a_row_that_is_made_anew_at_a_fence_that_was_used_is_found() {
    let check: Checker = rows_change_as_they_may;
    let deleted = || What::RowDeleted { lease: lease() };
    let life = |anew| {
        let before = row(&[("", 0, Checkpoint::TrimHorizon), ("v", 5, up_to(2))]);
        before.into_iter().chain([deleted()]).chain(row(&[("", anew, Checkpoint::TrimHorizon)]))
    };
    passes(check, life(6));
    for anew in [0, 5] {
        finds(check, "P5", "was made anew after fence 5", life(anew));
    }
    // A child's row that nobody had before its parent's end makes it once more.
    let fresh = || row(&[("", 0, Checkpoint::TrimHorizon)]);
    passes(check, fresh().into_iter().chain([deleted()]).chain(fresh()));
    // Another row's fences are its own.
    let other = What::RowWritten {
        lease: LeaseKey::from("b"),
        before: None,
        after: standing(("", 0, Checkpoint::TrimHorizon)),
    };
    passes(check, life(6).chain([other]));
}

#[test]
fn a_row_that_a_worker_deletes_before_its_end_is_found() {
    let check: Checker = rows_change_as_they_may;
    let collected = |says: Says| [What::RowCollected { lease: lease(), before: standing(says) }];
    passes(check, collected(("", 6, Checkpoint::ShardEnd)));
    finds(check, "P1", "was deleted by a worker", collected(("v", 6, up_to(9))));
}

#[test]
fn an_end_that_leaves_a_child_without_a_lease_is_found_though_a_sync_makes_it_later() {
    let check: Checker = no_shard_ends_before_its_children_have_leases;
    let made = |shard: &str, parents: &[&str]| What::ShardMade {
        shard: shard.into(),
        parents: parents.iter().copied().map(ShardId::from).collect(),
    };
    let child = |name: &str| What::RowWritten {
        lease: LeaseKey::from(name),
        before: None,
        after: standing(("", 0, Checkpoint::TrimHorizon)),
    };
    let end = || What::RowWritten {
        lease: lease(),
        before: Some(standing(("v", 1, up_to(9)))),
        after: standing(("", 2, Checkpoint::ShardEnd)),
    };
    let split = || [made("b", &["a"]), made("c", &["a"]), made("d", &["e"])];
    passes(check, split().into_iter().chain([child("b"), child("c"), end()]));
    let late = split().into_iter().chain([child("b"), end(), child("c")]);
    finds(check, "P8", "a had ended before c had a lease", late);
    let never = history([made("b", &["a", "e"]), end()]);
    is_found(&check_safety(&never), "P8", "a had ended before b had a lease");
    // One request writes all of it.
    let mut at_once = history(split().into_iter().chain([end(), child("b"), child("c")]));
    at_once.iter_mut().for_each(|entry| entry.at = s(1));
    assert_eq!(check(&at_once), []);
}
