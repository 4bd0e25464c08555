//! The cases that are explored. Each leaves out what it is not about: the product of all of them
//! is far beyond reach.

use super::case::{Case, Start};
use super::world::Left;

/// The owner's heartbeats are slow or lost; the other worker watches, fences and takes.
pub fn takeover(ticks: u64) -> Case {
    let budget = Left { drifts: 1, lost: 1, takes: 1, beats: 8, ..Left::default() };
    Case { budget, ..watched("takeover", ticks, [3, 3], Some(0)) }
}

/// As [`takeover`], and a heartbeat, a fence or a take applies twice.
pub fn takeover_twice(ticks: u64) -> Case {
    let takeover = takeover(ticks);
    let budget = Left { repeats: 1, drifts: 0, ..takeover.budget };
    Case { name: "takeover, twice", budget, ..takeover }
}

/// As [`takeover`], with an owner whose lease duration is twice the judge's.
pub fn unequal(ticks: u64) -> Case {
    let budget = Left { lost: 1, takes: 1, beats: 9, ..Left::default() };
    Case { budget, ..watched("unequal", ticks, [6, 3], Some(0)) }
}

/// Both workers take a lease that nobody owns; one of them is slow and watched by the other.
pub fn orphan(ticks: u64) -> Case {
    let budget = Left { takes: 2, beats: 5, ..Left::default() };
    Case { budget, ..watched("orphan", ticks, [3, 3], None) }
}

/// As [`takeover`], and somebody deletes a worker's row.
pub fn deleted(ticks: u64) -> Case {
    let budget = Left { deletions: 1, takes: 1, beats: 8, ..Left::default() };
    Case { budget, ..watched("deleted", ticks, [3, 3], Some(0)) }
}

/// As [`takeover`], and processes die and register anew, with or without a supervisor that says
/// so.
pub fn reborn(ticks: u64) -> Case {
    let budget =
        Left { crashes: 1, registrations: 1, takes: 2, reads: 1, beats: 7, ..Left::default() };
    Case { budget, reaps: true, ..watched("reborn", ticks, [3, 3], Some(0)) }
}

fn watched(name: &'static str, ticks: u64, durations: [u32; 2], owner: Option<usize>) -> Case {
    let leases = vec![Start::lasting("a", owner)];
    Case {
        ticks,
        watchers: vec![1],
        menders: vec![1],
        prompt: vec![1],
        pool: 2,
        ..Case::new(name, &durations, leases)
    }
}

/// A worker asks for a lease, is refused, and revokes and takes it.
pub fn force(ticks: u64) -> Case {
    let budget = Left { asks: 1, takes: 1, reads: 1, beats: 4, ..Left::default() };
    Case { budget, grants: false, ..moved("force", ticks, Some(0)) }
}

/// As [`force`], and one clock misses a tick: the owner's, or the one by which the asker waits.
pub fn slow_force(ticks: u64) -> Case {
    let force = force(ticks);
    Case { name: "force, slow clock", budget: Left { drifts: 1, ..force.budget }, ..force }
}

/// As [`force`], and a heartbeat, an ask, a revocation, a hand-over or a take applies twice.
pub fn force_twice(ticks: u64) -> Case {
    let force = force(ticks);
    Case { name: "force, twice", budget: Left { repeats: 1, ..force.budget }, ..force }
}

/// As [`force`], while the lease may be given and answers may be lost.
pub fn force_or_grant(ticks: u64) -> Case {
    let budget = Left { lost: 1, asks: 1, takes: 1, reads: 1, beats: 3, ..Left::default() };
    Case { budget, ..moved("force or grant", ticks, Some(0)) }
}

/// As [`force`], while the owner does not know yet that the lease is its own.
pub fn unheard(ticks: u64) -> Case {
    let budget = Left { asks: 1, takes: 2, beats: 3, ..Left::default() };
    Case { budget, ..moved("unheard", ticks, None) }
}

/// As [`force`], and somebody deletes the owner's row, which others put back.
pub fn put_back(ticks: u64) -> Case {
    let budget = Left { deletions: 1, asks: 1, takes: 1, beats: 3, ..Left::default() };
    Case { budget, menders: vec![1], grants: false, ..moved("put back", ticks, Some(0)) }
}

/// An ask that applies late and twice, and a lease that comes back.
pub fn ask(ticks: u64) -> Case {
    let budget = Left { repeats: 1, asks: 1, leaves: 1, reads: 2, beats: 3, ..Left::default() };
    let case = moved("ask", ticks, Some(0));
    Case { budget, leavers: vec![1], prompt_reads: true, ..case }
}

fn moved(name: &'static str, ticks: u64, owner: Option<usize>) -> Case {
    let leases = vec![Start::lasting("a", owner)];
    // The asker needs no heartbeats: it is valid for ever, which promises less and hides nothing.
    Case { ticks, pool: 2, prompt_reads: false, ..Case::new(name, &[3, 0], leases) }
}

/// Hand-overs, releases, adoptions and takes among three workers, late and repeated, without a
/// clock.
pub fn hand_over() -> Case {
    let budget = Left { repeats: 1, lost: 2, leaves: 2, takes: 1, reads: 3, ..Left::default() };
    let leases = vec![Start::lasting("a", Some(0))];
    Case { budget, prompt_reads: false, ..Case::new("hand over", &[3, 3, 3], leases) }
}

/// Checkpoints and effects of two owners one after the other, late and repeated, without a clock.
pub fn data() -> Case {
    let budget = Left { repeats: 1, lost: 1, leaves: 1, reads: 1, writes: 4, ..Left::default() };
    let leases = vec![Start::lasting("a", Some(0))];
    Case { budget, records: 3, ..Case::new("data", &[3, 3], leases) }
}

/// A shard ends in two, late and repeated, while it is handed over.
pub fn split() -> Case {
    let leases = vec![Start { shard: "a", owner: Some(0), children: vec!["b", "c"] }];
    ended("split", leases)
}

/// Two shards of two workers end in one.
pub fn merge() -> Case {
    let leases = vec![
        Start { shard: "a", owner: Some(0), children: vec!["c"] },
        Start { shard: "b", owner: Some(1), children: vec!["c"] },
    ];
    ended("merge", leases)
}

/// A shard ends in two, and one of these and another shard in one, whose row that other may make
/// while its second parent has none yet. Workers go by listings from before the split, before the
/// merge or after it, and the stream drops what it closed, read or not.
pub fn merge_of_child() -> Case {
    let leases = vec![
        Start { shard: "a", owner: Some(0), children: vec!["b", "c"] },
        Start { shard: "d", owner: Some(1), children: vec!["e"] },
    ];
    let budget = Left { repeats: 1, lost: 1, takes: 2, drops: 1, ..Left::default() };
    let later = vec![Start { shard: "c", owner: None, children: vec!["e"] }];
    let listings = vec![vec!["a", "d"], vec!["a", "b", "c", "d"], vec!["a", "b", "c", "d", "e"]];
    let kept = vec!["b", "e"];
    Case { budget, later, listings, kept, ..ended("merge of a child", leases) }
}

fn ended(name: &'static str, leases: Vec<Start>) -> Case {
    let budget = Left { repeats: 1, lost: 1, leaves: 1, takes: 2, reads: 1, ..Left::default() };
    Case { budget, prompt_reads: false, ..Case::new(name, &[3, 3], leases) }
}
