//! A worker's time, when it stands still and when its clock runs apart.

use kcl_core::TokioClock;

use super::*;

fn worker(drift_ppm: i64) -> WorkerClock {
    let clock = Arc::new(TokioClock::starting_at(0));
    WorkerClock { clock, drift_ppm, gate: Gate::new() }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_drifts_shows_more_or_less_time_and_wakes_nobody_too_early_by_it() {
    for (drift_ppm, shown) in [(900, 1_000_900), (-900, 999_100)] {
        let clock = worker(drift_ppm);
        let start = clock.monotonic();
        tokio::time::advance(Duration::from_secs(1000)).await;
        let passed = clock.monotonic().since(start).as_millis();
        assert!(passed.abs_diff(shown) <= 1, "{passed} ms, not {shown}");
        let due = clock.monotonic() + Duration::from_secs(1000);
        clock.sleep_until(due).await;
        assert!(clock.monotonic() >= due, "{drift_ppm}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_sleeps_on_a_worker_that_stands_still_wakes_once_it_goes_on() {
    let clock = Arc::new(worker(0));
    let sleeper = clock.clone();
    let due = clock.monotonic() + Duration::from_secs(1);
    let slept = tokio::spawn(async move { sleeper.sleep_until(due).await });
    clock.gate.set_open(false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!slept.is_finished());
    clock.gate.set_open(true);
    tokio::time::timeout(Duration::from_secs(1), slept).await.unwrap().unwrap();
    clock.gate.doom();
    clock.gate.set_open(true);
    let passed = tokio::time::timeout(Duration::from_secs(60), clock.gate.pass()).await;
    assert!(passed.is_err(), "who is doomed goes on no more");
}
