//! What a worker costs that has nothing to do.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::{Clock, SystemClock};
use kcl_stream_local::{Engine, StreamOptions};

use super::Number;
use super::probe::{Fleet, wait};

const SHARDS: u32 = 1000;
const WATCHED: Duration = Duration::from_secs(6);
/// Ticks of `/proc/self/stat` per second on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: f64 = 4096.0;

/// Memory per consumer at 1,000 idle shards, and the share of a core their worker uses.
///
/// # Errors
/// If the worker does not start, or the system does not tell.
pub fn measure() -> Result<Vec<Number>, Box<dyn Error>> {
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("idle", SHARDS, StreamOptions::unlimited())?;
    let before = resident_bytes()?;
    let mut fleet = Fleet::new(stream, Duration::from_secs(3));
    let mut worker = fleet.start()?;
    wait("the worker to hold all shards", || worker.shards() == SHARDS as usize)?;
    std::thread::sleep(Duration::from_secs(1));
    let per_shard = (resident_bytes()? - before) / f64::from(SHARDS) / 1024.0;
    let (used, started) = (cpu_seconds()?, SystemClock.monotonic());
    std::thread::sleep(WATCHED);
    let watched = SystemClock.monotonic().since(started).as_secs_f64();
    let share = 100.0 * (cpu_seconds()? - used) / watched;
    worker.shut_down();
    Ok(vec![
        Number::new("idle consumer, resident memory at 1,000 shards", per_shard, "KiB/shard")
            .goal("under 32 KiB"),
        Number::new("idle worker with 1,000 shards", share, "% of a core").goal("under 1%"),
    ])
}

fn resident_bytes() -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = text.split(' ').nth(1).ok_or("/proc/self/statm is short")?.parse()?;
    Ok(pages * PAGE_BYTES)
}

fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // The command's name, in parentheses, may contain spaces.
    let rest = text.rsplit_once(')').ok_or("/proc/self/stat is odd")?.1;
    let field = |number: usize| rest.split(' ').nth(number).and_then(|text| text.parse().ok());
    let (user, system): (f64, f64) = field(12).zip(field(13)).ok_or("/proc/self/stat is short")?;
    Ok((user + system) / TICKS_PER_SECOND)
}
