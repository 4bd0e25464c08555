//! The memory of a process of its own, which nothing else has used before.

use std::process::Command;
use std::time::Duration;

use kcl_core::{Clock, SystemClock};

use crate::Result;

/// The most that the memory of this program grew by, run again with these words (MiB).
pub fn grown_by(words: &[&str]) -> Result<f64> {
    let told = Command::new(std::env::current_exe()?).args(words).output()?;
    let told = String::from_utf8(told.stdout)?;
    Ok(told.trim().parse().map_err(|_| format!("the process said {told:?}"))?)
}

/// The most that the memory of this process grows by, from this call on, while the future is
/// awaited for so long (MiB).
pub fn growth(look_for: Duration) -> impl Future<Output = Result<f64>> {
    let (before, until) = (resident(), SystemClock.monotonic() + look_for);
    async move {
        let (before, mut most) = (before?, 0.0_f64);
        while SystemClock.monotonic() < until {
            SystemClock.sleep(Duration::from_millis(50)).await;
            most = most.max(resident()? - before);
        }
        Ok(most)
    }
}

/// Memory of this process (MiB).
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").parse()?;
    Ok(kib / 1024.0)
}
