use kcl_testkit::sim::{Options, run};

#[test]
fn seed_1() {
    assert_eq!(run(&Options::seed(1)).violations, []);
}
