//! Where whoever takes a lease may go on, and until when the one before may.

use super::lease_rows::row;
use super::*;

#[test]
fn a_start_that_passes_over_what_its_checkpoint_owes_is_found_though_another_was_given_it() {
    let check: Checker = records_come_in_order;
    let before = || [put(&[1, 2, 3, 4]), started(1, Checkpoint::TrimHorizon), given(&[1, 2, 3])];
    let then = |what: &[What]| [&before()[..], what].concat();
    passes(check, then(&[started(2, up_to(1)), given(&[2]), given(&[2, 3]), given(&[4])]));
    finds(check, "P2", "2 was not delivered", then(&[started(2, up_to(1)), given(&[3, 4])]));
    let later = [started(2, up_to(1)), given(&[2]), given(&[4])];
    finds(check, "P2", "3 was not delivered", then(&later));
    // Retention has passed it.
    passes(check, then(&[trimmed(&[2]), started(2, up_to(1)), given(&[3, 4])]));
    // Of whom slept through a take it is heard late.
    let slept = [started(3, up_to(3)), started(2, up_to(1)), given(&[4])];
    passes(check, then(&slept));
    // Where an application starts it starts; a place that is no position is where the first batch
    // begins.
    let first = |at, what: &[What]| [&[put(&[1, 2, 3, 4]), started(1, at)], what].concat();
    passes(check, first(up_to(2), &[given(&[3, 4])]));
    finds(check, "P2", "3 was not delivered", first(up_to(2), &[given(&[4])]));
    let timestamp = Checkpoint::AtTimestamp(5);
    passes(check, first(timestamp, &[given(&[2, 3]), given(&[4])]));
    passes(check, then(&[started(2, timestamp), given(&[3]), given(&[4])]));
    finds(check, "P2", "3 was not delivered", first(timestamp, &[given(&[2]), given(&[4])]));
    finds(check, "P2", "3 was not delivered", first(timestamp, &[given(&[2, 4])]));
}

#[test]
fn a_start_below_what_the_row_said_is_found_though_nobody_told_of_that() {
    let check: Checker = checkpoints_only_rise;
    let handed_over = || row(&[("v", 1, up_to(2)), ("v", 1, up_to(3)), ("w", 2, up_to(4))]);
    let start = |at| handed_over().into_iter().chain([started(2, at)]);
    passes(check, start(up_to(4)));
    finds(check, "P4", "started at 3, and its row said 4", start(up_to(3)));
    // What its own fence wrote since is no start's business.
    let adopted = row(&[("v", 1, up_to(2)), ("v", 1, up_to(3))]);
    passes(check, adopted.into_iter().chain([started(1, up_to(2))]));
}

#[test]
fn a_batch_or_a_poll_at_a_fence_that_the_row_has_passed_is_found_before_the_next_owner_starts() {
    let check: Checker = no_two_workers_deliver_one_shard;
    let start = Checkpoint::TrimHorizon;
    let taken = || row(&[("", 0, start), ("v", 1, start), ("w", 2, start)]);
    passes(check, taken().into_iter().chain([batch("w", 2, 1, 3), polled(2, 2, 3)]));
    let told = "of a at fence 1, and it is w at fence 2";
    finds(check, "P3", told, taken().into_iter().chain([batch("v", 1, 1, 3)]));
    let told = "polled at fence 1, and is w at fence 2";
    finds(check, "P3", told, taken().into_iter().chain([polled(1, 1, 3)]));
    // Whose row was deleted and made anew has not heard of it yet.
    let anew = row(&[("", 7, start)]);
    passes(check, row(&[("v", 1, start)]).into_iter().chain(anew).chain([polled(1, 1, 3)]));
}
