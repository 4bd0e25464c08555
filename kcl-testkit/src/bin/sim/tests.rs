//! What a campaign tells: how far it has come, and what a failing seed leaves behind.

use std::io;
use std::sync::{Arc, Mutex};

use indicatif::{ProgressDrawTarget, TermLike};
use kcl_core::protocol::Moment;
use kcl_testkit::sim::{Failed, Failure};

use super::progress::LINE_EVERY;
use super::*;

/// Tests as they are printed, of seeds that do not fail: these are compiled and run.
const OF_USUAL_FLEET: &str = include_str!("../../../tests/kept/usual_fleet.rs");
const OF_OTHER_FLEET: &str = include_str!("../../../tests/kept/other_fleet.rs");

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

/// What is the same however it is laid out.
fn code(text: &str) -> String {
    text.split_whitespace().collect::<String>().replace(",)", ")").replace(",}", "}")
}

#[test]
fn a_failing_seed_is_told_with_its_property_its_faults_and_a_test_and_leaves_a_file() {
    silence_simulated_panics();
    let options = failing();
    let seed = options.seed;
    let directory = std::env::temp_dir().join(format!("kcl-sim-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut told = Vec::new();
    let explained = explain(&options, &directory, &mut told);
    let file = directory.join(format!("sim-seed-{seed}.json"));
    let kept = file::read_run(&file);
    let text: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    // Before anything can fail: it is not left behind.
    std::fs::remove_dir_all(&directory).unwrap();
    explained.unwrap();
    let kept = kept.unwrap();
    let shrunk = Failure::shrunk(&options, run).unwrap();
    assert_eq!(kept, shrunk.options);
    assert_eq!(run(&kept).violations, shrunk.violations);
    assert!(!timeline(&kept), "a timeline of it says that it fails");

    let kept = text["faults"].as_array().unwrap().iter();
    let kept: Vec<_> = kept.map(|fault| (fault["id"].as_u64(), fault["kind"].as_str())).collect();
    let left = shrunk.faults.iter().map(|struck| (struck.id, format!("{:?}", struck.kind)));
    let left: Vec<_> = left.collect();
    let left: Vec<_> = left.iter().map(|(id, kind)| (Some(*id), Some(kind.as_str()))).collect();
    assert_eq!(kept, left, "all of them, however many are printed");

    let told = String::from_utf8(told).unwrap();
    let (failure, rest) = told.split_once("\na test to keep:\n").unwrap();
    let (test, replay) = rest.split_once("to see what happens: ").unwrap();
    let (property, faults) = failure.split_once("with these ").unwrap();
    assert!(property.starts_with(&format!("seed {seed} fails:\n  P6 broken at ")), "{told}");
    assert_eq!(property.lines().count(), 1 + shrunk.violations.len().min(12), "{told}");
    let few = shrunk.faults.len();
    assert!(0 < few && few < run(&options).struck.len(), "{few} faults are left");
    assert!(faults.starts_with(&format!("{few} faults alone:\n")), "{told}");
    for struck in shrunk.faults.iter().take(12) {
        assert!(faults.contains(&format!("\n{struck}\n")), "{struck} is missing in {told}");
    }
    let compiled = OF_OTHER_FLEET
        .replace("seed_1()", &format!("seed_{seed}()"))
        .replace("seed(1)", &format!("seed({seed})"))
        .replace("healing: Duration::from_secs(100)", "healing: Duration::from_secs(1)");
    assert_eq!(code(test), code(&compiled));
    assert_eq!(replay, format!("sim --replay {}\n", file.display()));
}

#[test]
fn the_test_of_a_seed_of_the_usual_fleet_is_one_that_is_compiled() {
    let (violations, faults) = Default::default();
    let failure = Failure { options: Options::seed(77), violations, faults };
    let compiled = OF_USUAL_FLEET.replace("seed_1()", "seed_77()").replace("seed(1)", "seed(77)");
    assert_eq!(explain::test(&failure), compiled);
}

#[test]
fn a_seed_that_fails_no_more_is_told_and_leaves_no_file() {
    silence_simulated_panics();
    let options = Options { workers: 2, shards: 2, ..Options::seed(1) };
    let mut told = Vec::new();
    explain(&options, Path::new("no such directory"), &mut told).unwrap();
    let words = "seed 1 failed, and does not now: it is not reproducible\n";
    assert_eq!(String::from_utf8(told).unwrap(), words);
}

/// Keeps the lines that are drawn.
#[derive(Clone, Debug, Default)]
struct Screen(Arc<Mutex<Vec<String>>>);

impl TermLike for Screen {
    fn width(&self) -> u16 {
        100
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write_str(line)
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap().push(text.to_owned());
        Ok(())
    }
    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

#[test]
fn on_a_terminal_a_bar_shows_how_many_seeds_are_done_and_failed() {
    let screen = Screen::default();
    let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
    let mut progress = Progress::on(target, true, 10, 2, at(0));
    assert_eq!(progress.show(3, 1, at(60)), None, "and no line beside it");
    let drawn = || screen.0.lock().unwrap().iter().rfind(|it| it.contains("seeds")).cloned();
    let line = drawn().unwrap();
    let start = format!("{}{} 3/10 seeds, ", "█".repeat(12), "░".repeat(28));
    assert!(line.trim().starts_with(&start) && line.trim().ends_with("s left, 1 failed"), "{line}");
    progress.show(10, 2, at(61));
    let line = drawn().unwrap();
    let start = format!("{} 10/10 seeds, ", "█".repeat(40));
    assert!(line.trim().starts_with(&start) && line.trim().ends_with("s left, 2 failed"), "{line}");
    screen.0.lock().unwrap().clear();
    progress.finish();
    assert_eq!(drawn(), None, "it is taken away");
}

/// A campaign that is stopped tells no result.
#[test]
fn a_seed_that_fails_is_named_at_once_above_the_bar_or_on_a_line() {
    let failed = Failed { seed: 7, violations: vec!["P1 broken".to_owned(), "lost".to_owned()] };
    let line = "seed 7 fails: P1 broken; lost";
    let progress = Progress::on(ProgressDrawTarget::hidden(), false, 10, 0, at(0));
    assert_eq!(progress.failed(&failed).as_deref(), Some(line));
    let screen = Screen::default();
    let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
    let mut progress = Progress::on(target, true, 10, 2, at(0));
    progress.show(3, 0, at(60));
    assert_eq!(progress.failed(&failed), None, "and no line beside it");
    let drawn = screen.0.lock().unwrap().clone();
    let (named, bar) = (
        drawn.iter().rposition(|drawn| drawn.contains(line)),
        drawn.iter().rposition(|drawn| drawn.contains("3/10 seeds")),
    );
    assert!(named.is_some() && named < bar, "{drawn:?}");
}

#[test]
fn a_campaign_names_each_seed_that_fails_once() {
    silence_simulated_panics();
    let options = failing();
    let campaign = Campaign { first: options.seed, seeds: 1, threads: 1, options };
    let mut told = Vec::new();
    let (outcome, _) = campaign_in_blocks(&campaign, None, |line| told.push(line)).unwrap();
    assert_eq!(outcome.failed.len(), 1);
    // On a terminal they stand above the bar.
    if !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        told.retain(|line| line.contains(" fails: "));
        assert_eq!(told.len(), 1, "{told:?}");
        let start = format!("seed {} fails: P6 broken at ", campaign.first);
        assert!(told[0].starts_with(&start), "{told:?}");
    }
}

#[test]
fn elsewhere_a_line_comes_every_ten_seconds() {
    let mut progress = Progress::on(ProgressDrawTarget::hidden(), false, 1000, 100, at(5));
    assert_eq!(LINE_EVERY, Duration::from_secs(10));
    let mut told = Vec::new();
    for second in 6..=36 {
        // Ten a second; those done before this sitting took no time of it.
        let done = 100 + (second - 5) * 10;
        told.extend(progress.show(done, 2, at(second)).map(|line| (second, line)));
    }
    let lines = [
        (15, "200/1000 seeds, 80 s left, 2 failed".to_owned()),
        (25, "300/1000 seeds, 70 s left, 2 failed".to_owned()),
        (35, "400/1000 seeds, 60 s left, 2 failed".to_owned()),
    ];
    assert_eq!(told, lines);
}
