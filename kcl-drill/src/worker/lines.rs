//! Writes the lines of the contract, in order, without holding a processor up.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use kcl_core::protocol::Moment;
use kcl_core::{Clock, SystemClock};
use tokio::sync::oneshot;

use crate::contract::{Line, LineEvent};
use crate::limits::LINES_WAITING;

/// Clones write to the same place.
#[derive(Clone)]
pub(crate) struct Lines {
    worker: Arc<str>,
    sender: SyncSender<Job>,
}

enum Job {
    Line(Box<Line>),
    /// Answered once everything before it is written.
    Flush(oneshot::Sender<()>),
}

impl Lines {
    /// Starts the thread that writes.
    pub fn start(worker: &str) -> Self {
        let (sender, receiver) = sync_channel(LINES_WAITING);
        std::thread::spawn(move || write_all(&receiver));
        Self { worker: worker.into(), sender }
    }

    pub fn say(&self, event: LineEvent) {
        let line = Line { ts: unix_seconds(), worker: self.worker.to_string(), event };
        // The writer ends with the process only.
        let _ = self.sender.send(Job::Line(Box::new(line)));
    }

    /// Waits until everything said is written. Cancel-safe: it is written all the same.
    pub async fn written(&self) {
        let (written, wait) = oneshot::channel();
        if self.sender.send(Job::Flush(written)).is_ok() {
            // The writer ends with the process only.
            let _ = wait.await;
        }
    }
}

fn write_all(jobs: &Receiver<Job>) {
    let mut out = std::io::stdout().lock();
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Line(line) => {
                // A line serializes.
                let text = serde_json::to_string(&line).unwrap_or_default();
                if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
                    // The drill is gone, maybe with a script between it and this worker.
                    eprintln!("nobody reads this worker's output any more");
                    std::process::exit(1);
                }
            }
            Job::Flush(written) => drop(written.send(())),
        }
    }
}

/// Unix time in seconds, to the microsecond: batches of two workers are told apart by it.
pub(crate) fn unix_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A moment of the boot clock as Unix seconds.
pub(crate) fn as_unix(moment: Moment) -> f64 {
    let now = SystemClock.monotonic();
    let ahead = moment.since(now).as_secs_f64() - now.since(moment).as_secs_f64();
    unix_seconds() + ahead
}
