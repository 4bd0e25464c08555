//! Counts flights with a fleet of workers that join, die, leave, and follow a resharding stream.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use examples::flights::args::Args;
use examples::flights::audit::Audit;
use examples::flights::feed::{FeedError, Progress, feed};
use examples::flights::figures::Figures;
use examples::flights::fleet::Fleet;
use examples::flights::json_file::JsonFile;
use examples::flights::report::Report;
use examples::flights::rows;
use examples::flights::script::Script;
use examples::flights::view::{Scene, View};
use kcl_core::protocol::{Moment, ShardId};
use kcl_core::{Clock, SystemClock};
use kcl_stream_local::{Engine, Producer, ProducerOptions, StreamOptions};
use tokio::task::JoinHandle;

/// How often the fleet is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Hot shards are looked for over this time.
const HOT_WINDOW: Duration = Duration::from_secs(3);
/// With all rows put, this long without progress means that the rest is lost.
const GIVE_UP: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no thread can be started: {error}")),
    };
    match runtime.block_on(run(&args)) {
        Ok(report) => report.fault().map_or(ExitCode::SUCCESS, fail),
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("flights: {why}");
    ExitCode::FAILURE
}

async fn run(args: &Args) -> Result<Report, Box<dyn Error>> {
    let started = SystemClock.monotonic();
    if let (Some(input), Some(json)) = (&args.input, &args.json)
        && is_same_file(input, json)
    {
        return Err(format!("--json {} would overwrite the input", json.display()).into());
    }
    let rows = Arc::new(rows::read(args.input.as_deref(), &args.partition_key)?);
    // Made before the run: a path that cannot be written is known before the work, not after it.
    let json = args.json.as_deref().map(JsonFile::create).transpose()?;
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("flights", args.shards, StreamOptions::default())?;
    // Hot shards are looked for over one to two windows.
    let options = ProducerOptions { hot_window: HOT_WINDOW * 2, ..ProducerOptions::default() };
    let producer = stream.producer(options);
    let audit = Arc::new(Audit::new(rows.iter().map(|row| row.key.as_str())));
    let mut fleet = Fleet::new(stream, audit);
    for _ in 0..args.workers {
        fleet.start_worker()?;
    }
    let progress = Arc::new(Progress::default());
    let fed = feed(Arc::clone(&rows), producer.clone(), args.rate, Arc::clone(&progress));
    let mut run = Run {
        rows: rows.len(),
        script: Script::new(rows.len()),
        view: View::new(args.plain),
        progress,
        producer,
        feeding: Some(tokio::spawn(fed)),
        takeovers: 0,
        window: started,
        is_first_window: true,
        named: Vec::new(),
        last: (0, started),
    };
    while !run.step(&mut fleet).await? {
        SystemClock.sleep(TICK).await;
    }
    run.show_takeovers(&fleet);
    if let Some(waited_for) = run.script.waits_for() {
        run.view.say(&format!("given up: still not so: {waited_for}"));
    }
    run.view.erase();
    let wall = SystemClock.monotonic().since(started);
    let report = run.report(&fleet, &Figures::direct(&rows), wall);
    report.print();
    if let Some(file) = json {
        file.finish(&report)?;
    }
    fleet.shut_down_all();
    Ok(report)
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(a).is_some_and(|a| real(b) == Some(a))
}

/// A run under way.
struct Run {
    rows: usize,
    script: Script,
    view: View,
    progress: Arc<Progress>,
    producer: Producer,
    feeding: Option<JoinHandle<Result<(), FeedError>>>,
    /// Changes of owner shown so far.
    takeovers: usize,
    /// Since when the loads are counted.
    window: Moment,
    /// No window was full yet.
    is_first_window: bool,
    /// Hot shards named so far.
    named: Vec<ShardId>,
    /// Rows processed, and when that last changed.
    last: (usize, Moment),
}

impl Run {
    /// Looks at everything once; true when the run is over.
    async fn step(&mut self, fleet: &mut Fleet) -> Result<bool, Box<dyn Error>> {
        let put = self.progress.put();
        self.show_takeovers(fleet);
        for said in self.script.step(put, &self.progress.records(), fleet).await? {
            self.view.say(&said);
        }
        self.progress.allow(self.script.full_pace_to());
        let feeding = self.feeding.take_if(|feeding| feeding.is_finished());
        self.name_hot_shards(feeding.is_some());
        if let Some(feeding) = feeding {
            feeding.await??;
        }
        let processed = fleet.audit.processed();
        self.view.draw(&Scene { rows: self.rows, put, processed, workers: fleet.status() });
        let now = SystemClock.monotonic();
        if processed != self.last.0 {
            self.last = (processed, now);
        }
        let is_silent = self.feeding.is_none() && now.since(self.last.1) >= GIVE_UP;
        let is_stuck = is_silent || self.script.is_stuck(now);
        let is_done = processed == self.rows && self.feeding.is_none() && self.script.is_over();
        Ok(is_done || is_stuck)
    }

    fn show_takeovers(&mut self, fleet: &Fleet) {
        for takeover in fleet.tracker.takeovers(self.takeovers) {
            self.view.takeover(&takeover);
            self.takeovers += 1;
        }
    }

    /// Every few seconds while rows are put, and at the end of them if no window was full by then.
    fn name_hot_shards(&mut self, is_end: bool) {
        let now = SystemClock.monotonic();
        let time = now.since(self.window);
        let is_due = match is_end {
            true => self.is_first_window,
            false => time >= HOT_WINDOW && self.feeding.is_some(),
        };
        if !is_due {
            return;
        }
        self.is_first_window = false;
        self.window = now;
        for hot in self.producer.hot_shards() {
            if !self.named.contains(&hot.shard) {
                self.view.say(&hot.to_string());
                self.named.push(hot.shard);
            }
        }
    }

    fn report(&self, fleet: &Fleet, direct: &Figures, wall: Duration) -> Report {
        let found = fleet.audit.findings();
        let figures = fleet.ledger.figures();
        Report {
            put: self.progress.put(),
            processed: found.processed,
            lost: found.lost,
            redelivered: found.redelivered,
            out_of_order: found.out_of_order,
            keys: found.keys,
            matches_direct: figures == *direct,
            figures: figures.lines(),
            takeovers: fleet.tracker.takeovers(0),
            script_settled: self.script.is_over(),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
