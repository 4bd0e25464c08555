//! What must hold in every run holds whatever the machine does; times are asserted where the drill
//! itself finds that a round says something.

use serde_json::Value;

use crate::play;

fn number(report: &Value, key: &str) -> f64 {
    let value = key.split('.').fold(report, |value, key| &value[key]);
    value.as_f64().unwrap_or_else(|| panic!("{key} is {value}"))
}

fn assert_nothing_is_wrong(report: &Value) {
    let counts = ["lost", "out_of_order", "overlaps", "stale_effects_accepted"];
    for key in counts.into_iter().chain(["takes_without_fence"]) {
        assert_eq!(number(report, key), 0.0, "{key}: {report:#}");
    }
    assert_eq!(report["details"], Value::Array(Vec::new()), "{report:#}");
    assert!(number(report, "records") > 0.0);
    assert_eq!(number(report, "overruns"), 0.0, "an asynchronous handler is cut off");
}

fn assert_at_most(report: &Value, key: &str, bound: f64) {
    let measured = number(report, key);
    let valid = number(report, "rounds") - number(report, "invalid_rounds");
    assert!(valid == 0.0 || measured <= bound, "{key} is {measured}, asked {bound}: {report:#}");
}

#[test]
fn twelve_kills_lose_nothing_and_the_work_goes_on_in_time() {
    let report = play(&["kill", "--rounds", "12"]);
    assert_nothing_is_wrong(&report);
    assert_eq!(number(&report, "rounds"), 12.0);
    assert_at_most(&report, "failover_ms.p50", 1800.0);
    assert_at_most(&report, "failover_ms.p99", 2500.0);
    for key in ["pause_ms.p50", "pause_ms.p99", "pause_ms.max", "duplicates", "moves", "wall_s"] {
        number(&report, key);
    }
    assert!(report["table_requests_per_s"]["UpdateItem"].is_number(), "{report:#}");
}

#[test]
fn four_zombies_do_nothing_that_is_not_theirs() {
    let report = play(&["zombie", "--rounds", "4"]);
    assert_nothing_is_wrong(&report);
}

#[test]
fn a_rolling_deploy_moves_each_shard_twice_at_most() {
    let report = play(&["rolling", "--workers", "3"]);
    assert_nothing_is_wrong(&report);
    assert_eq!(number(&report, "duplicates"), 0.0, "{report:#}");
    assert_at_most(&report, "most_moves_of_a_shard", 2.0);
    assert_at_most(&report, "pause_per_shard_ms.max", 600.0);
}

#[test]
fn kills_under_lost_doubled_and_slow_answers_lose_nothing() {
    let harm = "drop=2,drop-reply=2,duplicate=5,error=2,delay=5@150";
    let report = play(&["kill", "--rounds", "3", "--harm", harm]);
    assert_nothing_is_wrong(&report);
}
