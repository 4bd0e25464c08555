use std::time::Duration;

use kcl_testkit::sim::{Options, run};

#[test]
fn seed_1() {
    assert_eq!(
        run(&Options {
            workers: 2,
            shards: 2,
            rate: 0,
            faults: Duration::from_secs(60),
            healing: Duration::from_secs(100),
            ..Options::seed(1)
        })
        .violations,
        []
    );
}
