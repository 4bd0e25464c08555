//! What stays as it was when one fault is left out of a run.

use kcl_core::protocol::Moment;
use kcl_testkit::sim::{Kind, Options, Report, Struck, run, silence_simulated_panics};

fn before(report: &Report, at: Moment) -> (Vec<&Struck>, Vec<String>) {
    let struck = report.struck.iter().take_while(|struck| struck.at < at).collect();
    let happened = report.history.iter().take_while(|entry| entry.at < at);
    (struck, happened.map(|entry| format!("{entry:?}")).collect())
}

fn reshards(report: &Report) -> Vec<&Struck> {
    report.struck.iter().filter(|struck| struck.kind == Kind::Reshard).collect()
}

#[test]
fn without_one_fault_everything_before_it_stays_and_so_do_all_reshards() {
    silence_simulated_panics();
    let mut went_another_way = 0;
    for seed in [3, 4, 5] {
        let whole = run(&Options::seed(seed));
        assert!(!whole.struck.is_empty(), "seed {seed}");
        let others: Vec<_> =
            whole.struck.iter().filter(|struck| struck.kind != Kind::Reshard).collect();
        for quarter in 1..4 {
            let left_out = others[others.len() * quarter / 4];
            let options = Options { without: vec![left_out.id], ..Options::seed(seed) };
            let less = run(&options);
            assert!(less.struck.iter().all(|struck| struck.id != left_out.id), "{left_out}");
            let (was, is) = (before(&whole, left_out.at), before(&less, left_out.at));
            assert!(was == is, "seed {seed} went another way before {left_out}");
            // Drawn by the second for the stream, whatever the workers do.
            assert_eq!(reshards(&whole), reshards(&less), "seed {seed} without {left_out}");
            went_another_way += u32::from(whole.trace_hash() != less.trace_hash());
        }
    }
    assert!(went_another_way > 0, "no fault made a difference");
}
