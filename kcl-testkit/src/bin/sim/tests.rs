//! What a failing seed leaves behind.

use super::*;

/// A fleet that has no time to heal, in the first seed in which it needs some.
fn failing() -> Options {
    let options = |seed| Options {
        workers: 2,
        shards: 2,
        rate: 0,
        faults: Duration::from_secs(60),
        healing: Duration::from_secs(1),
        ..Options::seed(seed)
    };
    let mut seeds = (0..50).map(options);
    seeds.find(|options| !run(options).violations.is_empty()).expect("a seed that fails")
}

#[test]
fn a_failing_seed_leaves_a_file_with_which_it_fails_again() {
    let options = failing();
    let directory = std::env::temp_dir().join(format!("kcl-sim-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let explained = explain(&options, &directory);
    let file = directory.join(format!("sim-seed-{}.json", options.seed));
    let kept = file::read_run(&file);
    // Before anything can fail: it is not left behind.
    std::fs::remove_dir_all(&directory).unwrap();
    explained.unwrap();
    let kept = kept.unwrap();
    let shrunk = Failure::shrunk(&options, run).unwrap();
    assert_eq!(kept, shrunk.options);
    assert_eq!(run(&kept).violations, shrunk.violations);
    assert!(!timeline(&kept), "a timeline of it says that it fails");
}
