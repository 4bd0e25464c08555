//! The gate: simulated fleets under faults keep every promise.

mod application;
mod failing;
mod healing;
mod left_out;
mod mutants;
mod struck;

use std::time::{Duration, Instant};

use kcl_testkit::sim::{Campaign, Kind, Options, run, silence_simulated_panics, simulate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every seed that ever failed, and what it found. Draws have changed since: docs/simulation.md
/// tells what guards a fix whose seed may pass it by.
const FOUND: [(u64, &str); 30] = [
    (74684, "a hand-over told by a hint to a worker that takes none waited for a round"),
    (40, "a shard that came to its end as soon as it was resumed stayed parked in its row"),
    (26, "as 40"),
    (41, "as 40"),
    (100, "as 40"),
    (132, "as 40"),
    (153, "as 40"),
    (166, "as 40"),
    (200, "as 40"),
    (282, "as 40"),
    (6725, "a lease that had failed on a worker waited for a round, since that worker had no room"),
    (11414, "a deleted row's owner went on by what stood prepared in it: no fault"),
    (10144, "a worker that slept through a take was judged by what was prepared later: no fault"),
    (11927, "a parked lease of a dead owner was given to nobody by a round of another worker"),
    (40084, "a listing that lagged behind the child, and showed later shards, dropped its parent"),
    (41010, "a row deleted while the request that made it was still under way: not promised"),
    (41096, "as 41010"),
    (31462, "a revoked lease was handed over with a checkpoint below that of an undecided effect"),
    (30408, "once every worker's try of a round had failed, no round was tried again"),
    (359, "a listing hid a shard and showed its child: no service does"),
    (247, "a merge child started before a parent whose row did not exist yet"),
    (297, "a first sync that was never finished made a deleted lease anew at an old fence"),
    (1044, "a deleted row was made anew only a round after its holder had let go"),
    (1088, "as 247"),
    (1158, "as 247, with a listing that lagged"),
    (1240, "children of a shard whose row was deleted stayed without an owner"),
    (1246, "as 247"),
    (1252, "as 297, during an outage"),
    (1299, "as 297"),
    (21013, "a row deleted while a worker stood still in the request that made it: not promised"),
];

/// The same, of a fleet of 3 workers and 4 shards.
const FOUND_SMALL: [(u64, &str); 3] = [
    (106491, "a dead worker's child waited a round more once its parent's row was made anew"),
    (109752, "as 106491"),
    (110419, "a checkpoint that was heard of after its row was deleted: no fault"),
];

#[test]
fn seeds_that_once_failed_stay_fixed() {
    silence_simulated_panics();
    for (seed, found) in FOUND {
        assert_eq!(run(&Options::seed(seed)).violations, [], "seed {seed}: {found}");
    }
    for (seed, found) in FOUND_SMALL {
        let small = Options { workers: 3, shards: 4, ..Options::seed(seed) };
        assert_eq!(run(&small).violations, [], "seed {seed}: {found}");
    }
}

/// In so many seeds every kind of fault strikes, the rarest hundreds of times.
const EVERY_KIND_WITHIN: u32 = 500;

/// How long the gate may take, where `KCL_GATES` is set.
const LONGEST: Duration = Duration::from_secs(300);

/// How long the simulations themselves take; nothing in one knows of it.
#[allow(clippy::disallowed_methods)]
fn stopwatch() -> Instant {
    Instant::now()
}

#[test]
fn fleets_under_faults_keep_every_promise() {
    silence_simulated_panics();
    let usual = if cfg!(debug_assertions) { 20 } else { 2000 };
    let seeds = std::env::var("KCL_SIM_SEEDS").ok();
    let seeds = seeds.map_or(usual, |text| text.parse().expect("KCL_SIM_SEEDS is a number"));
    let start = stopwatch();
    let campaign = Campaign { first: 10_000, seeds, threads: 2, options: Options::seed(0) };
    let outcome = simulate(&campaign, |_| ());
    let failed: Vec<_> =
        outcome.failed.iter().map(|failed| (failed.seed, &failed.violations)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(outcome.not_reproducible, Vec::<u64>::new(), "one seed, two histories");
    let took = start.elapsed();
    println!("{seeds} seeds in {:.1} s", took.as_secs_f64());
    // Times are for a machine that does nothing else.
    let is_timed = !cfg!(debug_assertions) && std::env::var("KCL_GATES").is_ok_and(|on| on == "1");
    assert!(!is_timed || took < LONGEST, "it took {took:?}");
    // It did what it is for: fleets of this size, for this long, with every kind of fault.
    assert_eq!(outcome.seeds, seeds);
    let Options { workers, shards, .. } = campaign.options;
    assert!(workers >= 5 && shards >= 20, "{workers} workers, {shards} shards");
    let seeds = u32::try_from(seeds).unwrap();
    assert_eq!(outcome.simulated, Duration::from_secs(270) * seeds);
    // 5 a second and shard, until 30 s before the end.
    assert_eq!(outcome.records, 24_000 * seeds as usize);
    if seeds >= EVERY_KIND_WITHIN {
        let missing: Vec<_> = Kind::ALL.iter().filter(|kind| outcome.count(**kind) == 0).collect();
        assert!(missing.is_empty(), "{missing:?} never struck");
    }
}
