//! Worker processes, and what is done to them.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use kcl_core::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;

use crate::board::Board;
use crate::child;
use crate::limits::{LAST_WORDS, OUTPUT_PATIENCE};
use crate::proxy::{Door, Proxy};
use crate::record::Journal;

/// How workers are started.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The environment, without what each worker has of its own.
    pub environment: BTreeMap<String, String>,
    /// Where standard error goes.
    pub log: PathBuf,
    /// How long a worker may take to leave.
    pub patience: Duration,
}

pub(crate) struct Worker {
    pub name: String,
    pub door: Door,
    child: Child,
    reading: JoinHandle<()>,
    pub is_frozen: bool,
}

pub(crate) struct Fleet {
    pub recipe: Recipe,
    proxy: Proxy,
    journal: Journal,
    board: Board,
    started: usize,
    pub workers: Vec<Worker>,
}

impl Fleet {
    pub fn new(recipe: Recipe, proxy: Proxy, journal: Journal, board: Board) -> Self {
        Self { recipe, proxy, journal, board, started: 0, workers: Vec::new() }
    }

    /// Starts one more worker; its place in the fleet.
    ///
    /// # Errors
    /// No process can be started.
    pub async fn start(&mut self) -> io::Result<usize> {
        self.started += 1;
        let name = format!("w{}", self.started);
        let door = self.proxy.open(&name).await?;
        let log = OpenOptions::new().create(true).append(true).open(&self.recipe.log)?;
        let mut words = self.recipe.command.iter();
        let mut command = child::command(words.next().map_or("", String::as_str))?;
        command
            .args(words)
            .envs(&self.recipe.environment)
            .env("WORKER_ID", &name)
            .env("DYNAMODB_ENDPOINT", door.url())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn()?;
        let output = child.stdout.take();
        let journal = self.journal.clone();
        let reading = tokio::spawn(async move {
            let Some(output) = output else { return };
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                journal.hear(&line);
            }
        });
        self.board.says(format!("{name} starts"));
        self.workers.push(Worker { name, door, child, reading, is_frozen: false });
        self.show();
        Ok(self.workers.len() - 1)
    }

    pub fn names(&self) -> Vec<String> {
        self.workers.iter().map(|worker| worker.name.clone()).collect()
    }

    fn show(&self) {
        let state = |worker: &Worker| (worker.name.clone(), worker.is_frozen);
        self.board.fleet_is(self.workers.iter().map(state).collect());
    }

    /// The first worker that ended by itself, and how.
    pub fn fallen(&mut self) -> Option<String> {
        let log = &self.recipe.log;
        self.workers.iter_mut().find_map(|worker| {
            let status = worker.child.try_wait().ok()??;
            let said = last_words(log);
            Some(format!("worker {} ended by itself, {status}; {said}", worker.name))
        })
    }

    /// Kills a worker, and reads what it wrote until then.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub async fn kill(&mut self, place: usize) -> io::Result<()> {
        self.reap(place).await?.hear_out().await;
        Ok(())
    }

    /// Kills a worker with SIGKILL and reaps it; it may have left lines to be read.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub async fn reap(&mut self, place: usize) -> io::Result<Worker> {
        let mut worker = self.workers.remove(place);
        self.board.says(format!("{} is killed", worker.name));
        self.show();
        worker.signal(Signal::KILL)?;
        worker.child.wait().await?;
        Ok(worker)
    }

    /// Asks a worker to leave, and waits for it; what it did wrong, if anything.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub async fn stop(&mut self, place: usize) -> io::Result<Option<String>> {
        let mut worker = self.workers.remove(place);
        self.board.says(format!("{} is asked to leave", worker.name));
        self.show();
        worker.signal(Signal::TERM)?;
        let patience = self.recipe.patience;
        let Some(status) = worker.left_within(patience).await? else {
            worker.signal(Signal::KILL)?;
            worker.child.wait().await?;
            let name = &worker.name;
            return Ok(Some(format!("{name} was still there {patience:?} after SIGTERM")));
        };
        worker.hear_out().await;
        let wrong = (!status.success()).then(|| {
            format!("{} left with {status}; {}", worker.name, last_words(&self.recipe.log))
        });
        Ok(wrong)
    }

    /// Stops a worker in its tracks.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn freeze(&mut self, place: usize) -> io::Result<()> {
        self.set_frozen(place, true)
    }

    /// Lets a frozen worker go on.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn thaw(&mut self, place: usize) -> io::Result<()> {
        self.set_frozen(place, false)
    }

    fn set_frozen(&mut self, place: usize, is_frozen: bool) -> io::Result<()> {
        let (signal, what) = match is_frozen {
            true => (Signal::STOP, "is frozen"),
            false => (Signal::CONT, "goes on"),
        };
        let worker = &mut self.workers[place];
        worker.is_frozen = is_frozen;
        worker.signal(signal)?;
        self.board.says(format!("{} {what}", worker.name));
        self.show();
        Ok(())
    }

    /// Ends every worker without a word.
    pub async fn clear(&mut self) {
        while !self.workers.is_empty() {
            // One that cannot be killed is gone already.
            let _ = self.kill(0).await;
        }
    }
}

/// The end of the log, for people who would look there next.
fn last_words(log: &PathBuf) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.last().map_or("nothing", |line| line.get(..LAST_WORDS).unwrap_or(line));
    format!("the last line of {}: {last}", log.display())
}

impl Worker {
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let gone = || io::Error::other(format!("{} has ended already", self.name));
        Ok(kill_process_group(self.group().ok_or_else(gone)?, signal)?)
    }

    /// Its process group: itself and whatever it started. `None` once it was reaped.
    fn group(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    async fn left_within(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        tokio::select! { biased;
            status = self.child.wait() => status.map(Some),
            () = SystemClock.sleep(patience) => Ok(None),
        }
    }

    /// Reads what it wrote before it ended: that is still in the pipe. A process it left behind
    /// may hold the other end open for ever.
    pub async fn hear_out(&mut self) {
        tokio::select! { biased;
            _ = &mut self.reading => {}
            () = SystemClock.sleep(OUTPUT_PATIENCE) => self.reading.abort(),
        }
    }
}

impl Drop for Worker {
    /// With everything it started.
    fn drop(&mut self) {
        if let Some(group) = self.group() {
            // Gone already is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
