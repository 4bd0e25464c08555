//! Failover, planned hand-overs and joins, with records flowing.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::SystemClock;
use kcl_core::protocol::hash;
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions};

use super::probe::{Fleet, Worker, wait};
use super::{Number, percentile};

const LEASE_DURATION: Duration = Duration::from_secs(1);
const SHARDS: usize = 8;
/// Between two records of the feed.
const GAP: Duration = Duration::from_micros(500);

/// A stream with records flowing until dropped.
struct Flow {
    stream: Stream,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Flow {
    fn start() -> Result<Self, Box<dyn Error>> {
        let engine = Engine::new(Arc::new(SystemClock));
        let stream = engine.create_stream("moves", SHARDS as u32, StreamOptions::unlimited())?;
        let stop = Arc::new(AtomicBool::new(false));
        let (target, until) = (stream.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut put = 0;
            while !until.load(Ordering::Relaxed) {
                let record = NewRecord::new(format!("key-{put}"), vec![0; 100]);
                put += u64::from(target.put(record).is_ok());
                std::thread::sleep(GAP);
            }
            put
        });
        Ok(Self { stream, stop, thread: Some(thread) })
    }
    /// Ends the flow; how many records were put.
    fn stop(&mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(0)
    }
}

fn all_held(workers: &[&Worker]) -> bool {
    workers.iter().map(|worker| worker.shards()).sum::<usize>() == SHARDS
}
fn even(workers: &[&Worker]) -> bool {
    let loads = workers.iter().map(|worker| worker.shards());
    all_held(workers) && loads.clone().max().zip(loads.min()).is_some_and(|(a, b)| a - b <= 1)
}

/// When the kill of a round comes: anywhere within the lease duration, the same in every run.
fn moment_of(round: u32) -> Duration {
    let nanos = u64::try_from(LEASE_DURATION.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(hash::mix(u64::from(round)) % nanos)
}

/// Kills one of two workers again and again, at moments spread evenly over its lease duration and
/// thus over its heartbeats: from the kill to the first record the other one delivers of each of
/// its shards.
///
/// # Errors
/// If a worker does not start or the shards do not move on.
pub fn failover(kills: u32, progress: impl Fn(&str)) -> Result<Vec<Number>, Box<dyn Error>> {
    let flow = Flow::start()?;
    let mut fleet = Fleet::new(flow.stream.clone(), LEASE_DURATION);
    let mut victim = fleet.start()?;
    wait("the first worker to hold all shards", || all_held(&[&victim]))?;
    let mut millis = Vec::new();
    for round in 1..=kills {
        let heir = fleet.start()?;
        wait("a balanced fleet", || even(&[&victim, &heir]))?;
        std::thread::sleep(moment_of(round));
        let orphans = victim.shards();
        fleet.probe.log().handed.clear();
        let killed = victim.kill();
        wait("the heir to deliver every shard", || fleet.probe.log().handed.len() >= orphans)?;
        let log = fleet.probe.log();
        let first = log.handed.iter().map(|(_, at, _)| at.since(killed).as_secs_f64() * 1000.0);
        millis.extend(first);
        progress(&format!("failover, kill {round} of {kills}"));
        drop(log);
        victim = heir;
    }
    let median = percentile(&mut millis, 0.5);
    let worst = percentile(&mut millis, 1.0);
    Ok(vec![
        Number::new(format!("failover, D = 1 s, {kills} kills, median"), median, "ms"),
        Number::new(format!("failover, D = 1 s, {kills} kills, worst"), worst, "ms")
            .goal("under 1,800 ms"),
    ])
}

/// Shuts one of two workers down: the pause of each shard, from the end of its last batch at the
/// giver to the start of its first at the taker.
///
/// # Errors
/// As for [`failover`].
pub fn planned(rounds: u32, progress: impl Fn(&str)) -> Result<Vec<Number>, Box<dyn Error>> {
    let flow = Flow::start()?;
    let mut fleet = Fleet::new(flow.stream.clone(), LEASE_DURATION);
    let mut leaver = fleet.start()?;
    let mut millis = Vec::new();
    for round in 1..=rounds {
        let stayer = fleet.start()?;
        wait("a balanced fleet", || even(&[&leaver, &stayer]))?;
        let moving = leaver.shards();
        fleet.probe.log().handed.clear();
        leaver.shut_down();
        wait("the stayer to deliver every shard", || fleet.probe.log().handed.len() >= moving)?;
        let log = fleet.probe.log();
        millis.extend(log.handed.iter().map(|(.., pause)| pause.as_secs_f64() * 1000.0));
        progress(&format!("planned stop, {round} of {rounds}"));
        drop(log);
        leaver = stayer;
    }
    let median = percentile(&mut millis, 0.5);
    let worst = percentile(&mut millis, 1.0);
    Ok(vec![
        Number::new("clean shutdown, pause per shard, median", median, "ms"),
        Number::new("clean shutdown, pause per shard, worst", worst, "ms").goal("under 50 ms"),
    ])
}

/// Drains every shard of one of two workers, one after the other.
///
/// # Errors
/// As for [`failover`].
pub fn drained(rounds: u32, progress: impl Fn(&str)) -> Result<Vec<Number>, Box<dyn Error>> {
    let mut millis = Vec::new();
    for round in 1..=rounds {
        let flow = Flow::start()?;
        let mut fleet = Fleet::new(flow.stream.clone(), LEASE_DURATION);
        let (giver, taker) = (fleet.start()?, fleet.start()?);
        wait("a balanced fleet", || even(&[&giver, &taker]))?;
        for status in giver.handle.status().shards {
            fleet.probe.log().handed.clear();
            giver.drain(&status.shard);
            wait("the taker to deliver the shard", || !fleet.probe.log().handed.is_empty())?;
            millis.extend(
                fleet.probe.log().handed.iter().map(|(.., pause)| pause.as_secs_f64() * 1000.0),
            );
        }
        progress(&format!("drain, {round} of {rounds}"));
    }
    let median = percentile(&mut millis, 0.5);
    let worst = percentile(&mut millis, 1.0);
    Ok(vec![
        Number::new("drain, pause per shard, median", median, "ms"),
        Number::new("drain, pause per shard, worst", worst, "ms").goal("under 50 ms"),
    ])
}

/// A fourth worker joins three: how long until balanced, how many moves, and what came twice.
///
/// # Errors
/// As for [`failover`].
pub fn join(rounds: u32, progress: impl Fn(&str)) -> Result<Vec<Number>, Box<dyn Error>> {
    let (mut millis, mut moves, mut twice) = (Vec::new(), Vec::new(), 0);
    for round in 1..=rounds {
        let mut flow = Flow::start()?;
        let mut fleet = Fleet::new(flow.stream.clone(), LEASE_DURATION);
        let mut three = Vec::new();
        for _ in 0..3 {
            three.push(fleet.start()?);
        }
        wait("three balanced workers", || even(&three.iter().collect::<Vec<_>>()))?;
        std::thread::sleep(LEASE_DURATION);
        let before = fleet.probe.log().held;
        let fourth = fleet.start()?;
        let four: Vec<&Worker> = three.iter().chain([&fourth]).collect();
        let took = wait("four balanced workers", || even(&four))?;
        millis.push(took.as_secs_f64() * 1000.0);
        let put = flow.stop();
        wait("every record to be delivered", || fleet.delivered().records >= put)?;
        // A move too many, and what it delivers again, would come about now.
        std::thread::sleep(LEASE_DURATION);
        moves.push((fleet.probe.log().held - before) as f64);
        twice += fleet.delivered().twice;
        progress(&format!("join, {round} of {rounds}"));
    }
    Ok(vec![
        Number::new(
            "fourth worker joins, balanced after, worst",
            percentile(&mut millis, 1.0),
            "ms",
        )
        .goal("under 1,500 ms"),
        Number::new("fourth worker joins, moves, most", percentile(&mut moves, 1.0), "moves")
            .goal("2, the fewest that balance 8 shards"),
        Number::new("fourth worker joins, records delivered twice", twice as f64, "records")
            .goal("0"),
    ])
}
