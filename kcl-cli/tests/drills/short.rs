//! What must hold in every run holds whatever the machine does; times are asserted where the drill
//! itself finds that a round says something.

use serde_json::Value;

use crate::{play, play_and_show};

pub fn number(report: &Value, key: &str) -> f64 {
    let value = key.split('.').fold(report, |value, key| &value[key]);
    value.as_f64().unwrap_or_else(|| panic!("{key} is {value}"))
}

fn assert_nothing_is_wrong(report: &Value) {
    let counts = ["lost", "out_of_order", "overlaps", "stale_effects_accepted"];
    let of_leases = ["takes_without_fence", "shared_fences", "bad_rows"];
    let of_checkpoints = ["bad_checkpoints", "passed_open_records"];
    for key in counts.into_iter().chain(of_leases).chain(of_checkpoints) {
        assert_eq!(number(report, key), 0.0, "{key}: {report:#}");
    }
    assert_eq!(report["details"], Value::Array(Vec::new()), "{report:#}");
    assert!(number(report, "records") > 0.0);
    // What finds nothing because it has seen nothing is no check.
    for key in ["effects_accepted", "checkpoints"] {
        assert!(number(report, key) > 0.0, "{key}: {report:#}");
    }
    assert_eq!(number(report, "overruns"), 0.0, "an asynchronous handler is cut off");
}

fn assert_at_most(report: &Value, key: &str, bound: f64) {
    let measured = number(report, key);
    let valid = number(report, "rounds") - number(report, "invalid_rounds");
    assert!(valid == 0.0 || measured <= bound, "{key} is {measured}, asked {bound}: {report:#}");
}

#[test]
fn twelve_kills_lose_nothing_and_the_work_goes_on_in_time() {
    let (report, shown) = play_and_show(&["kill", "--rounds", "12"], &[0, 3]);
    assert_nothing_is_wrong(&report);
    let header = shown.lines().position(|line| line.contains("failover p50/p99/max"));
    let row = header.and_then(|header| shown.lines().nth(header + 1));
    assert!(row.is_some_and(|row| row.starts_with("kill ")), "the table of all: {shown}");
    let bars = shown.lines().filter(|line| line.contains(" ms ") && line.ends_with('#'));
    let has_failovers = number(&report, "failover_ms.n") > 0.0;
    assert!(bars.count() > 0 || !has_failovers, "a histogram: {shown}");
    assert_eq!((number(&report, "rounds"), &report["scenario"]), (12.0, &"kill".into()));
    assert_at_most(&report, "failover_ms.p50", 1800.0);
    assert_at_most(&report, "failover_ms.p99", 2500.0);
    for key in ["pause_ms.p50", "pause_ms.p99", "pause_ms.max", "failover_ms.max", "duplicates"] {
        number(&report, key);
    }
    assert!(number(&report, "moves") > 0.0 && number(&report, "takes") > 0.0, "{report:#}");
    assert!(report["table_requests_per_s"]["UpdateItem"].is_number(), "{report:#}");
}

#[test]
fn four_zombies_do_nothing_that_is_not_theirs() {
    let report = play(&["zombie", "--rounds", "4"]);
    assert_nothing_is_wrong(&report);
    // Who slept longer than its right lost its shards, and said so when it woke.
    assert!(number(&report, "takes") > 0.0, "{report:#}");
    assert!(number(&report, "lines.lease_lost") > 0.0, "{report:#}");
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
fn a_worker_that_is_asked_to_leave_hands_over_without_duplicates() {
    let report = play(&["stop", "--rounds", "4"]);
    assert_nothing_is_wrong(&report);
    assert_eq!(number(&report, "duplicates"), 0.0, "{report:#}");
    assert!(number(&report, "moves") > 0.0, "{report:#}");
    assert_at_most(&report, "pause_ms.p99", 150.0);
    // One that is stopped in each round, and the three that are left at the end.
    assert_eq!(number(&report, "lines.shutdown"), 7.0, "{report:#}");
}

#[test]
fn the_shards_of_a_reaped_worker_go_on_at_once() {
    let report = play(&["kill-reaped", "--rounds", "4"]);
    assert_nothing_is_wrong(&report);
    assert!(number(&report, "takes") > 0.0, "{report:#}");
    assert_at_most(&report, "failover_ms.p99", 200.0);
    // Whatever the machine: a scan of the workers, a regular one before it at most, one of the
    // leases, and the take.
    let requests: Vec<usize> = report["failover_requests"]
        .as_object()
        .unwrap()
        .keys()
        .map(|requests| requests.parse().unwrap())
        .collect();
    assert!(!requests.is_empty(), "{report:#}");
    assert!(requests.iter().all(|requests| (2..=4).contains(requests)), "{report:#}");
}

#[test]
fn an_outage_of_ten_lease_durations_moves_nothing() {
    let report = play(&["outage", "--rounds", "1"]);
    assert_nothing_is_wrong(&report);
    assert_eq!((number(&report, "moves"), number(&report, "takes")), (0.0, 0.0), "{report:#}");
    // Three workers knock at least once a heartbeat, for 30 of them.
    assert!(number(&report, "harmed_requests") >= 30.0, "{report:#}");
    // 50 records a second and shard, from before the fleet has settled to the end of the rounds.
    let (records, wall) = (number(&report, "records"), number(&report, "wall_s"));
    let is_as_asked = (0.6..1.05).contains(&(records / (50.0 * 6.0 * wall)));
    assert!(is_as_asked || number(&report, "invalid_rounds") > 0.0, "{report:#}");
}

#[test]
fn splits_and_merges_beside_kills_lose_nothing() {
    let report = play(&["reshard", "--rounds", "4"]);
    assert_nothing_is_wrong(&report);
    assert!(number(&report, "failover_ms.n") > 0.0 || number(&report, "invalid_rounds") == 4.0);
}

#[test]
fn a_worker_holds_64_shards_of_a_new_table_within_three_seconds() {
    let report = play(&["start", "--shards", "64", "--rounds", "2"]);
    assert_eq!(report["details"], Value::Array(Vec::new()), "{report:#}");
    assert_at_most(&report, "start_ms.max", 3000.0);
}

#[test]
fn kills_under_lost_doubled_throttled_and_slow_answers_lose_nothing() {
    let harm = "drop=2,drop-reply=2,duplicate=5,error=2,throttle=20,delay=5@150";
    let report = play(&["kill", "--rounds", "3", "--harm", harm]);
    assert_nothing_is_wrong(&report);
    assert!(number(&report, "harmed_requests") > 20.0, "{report:#}");
}
