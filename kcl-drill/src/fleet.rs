//! Worker processes, and what is done to them.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

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
}

pub(crate) struct Worker {
    pub name: String,
    pub door: Door,
    child: Child,
    reading: JoinHandle<()>,
    pub is_frozen: bool,
}

pub(crate) struct Fleet {
    recipe: Recipe,
    proxy: Proxy,
    journal: Journal,
    started: usize,
    pub workers: Vec<Worker>,
}

impl Fleet {
    pub fn new(recipe: Recipe, proxy: Proxy, journal: Journal) -> Self {
        Self { recipe, proxy, journal, started: 0, workers: Vec::new() }
    }

    /// Starts one more worker; its place in the fleet.
    ///
    /// # Errors
    /// The program cannot be run.
    pub async fn start(&mut self) -> io::Result<usize> {
        self.started += 1;
        let name = format!("w{}", self.started);
        let door = self.proxy.open().await?;
        let log = OpenOptions::new().create(true).append(true).open(&self.recipe.log)?;
        let mut words = self.recipe.command.iter();
        let program = words.next().map_or("", String::as_str);
        let mut command = Command::new(program);
        command
            .args(words)
            .envs(&self.recipe.environment)
            .env("WORKER_ID", &name)
            .env("DYNAMODB_ENDPOINT", door.url())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("the worker {program:?} cannot be run: {error}"))
        })?;
        let output = child.stdout.take();
        let journal = self.journal.clone();
        let reading = tokio::spawn(async move {
            let Some(output) = output else { return };
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                journal.hear(&line);
            }
        });
        self.workers.push(Worker { name, door, child, reading, is_frozen: false });
        Ok(self.workers.len() - 1)
    }

    pub fn names(&self) -> Vec<String> {
        self.workers.iter().map(|worker| worker.name.clone()).collect()
    }

    /// The first worker that ended by itself, and how.
    pub fn fallen(&mut self) -> Option<String> {
        self.workers.iter_mut().find_map(|worker| {
            let status = worker.child.try_wait().ok()??;
            Some(format!("worker {} ended by itself: {status}", worker.name))
        })
    }

    /// Kills a worker with SIGKILL and reaps it.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub async fn kill(&mut self, place: usize) -> io::Result<()> {
        let mut worker = self.workers.remove(place);
        worker.child.kill().await?;
        // What it wrote before is still in the pipe.
        let _ = worker.reading.await;
        Ok(())
    }

    /// Asks a worker to leave, and waits for it.
    ///
    /// # Errors
    /// It did not exit with 0.
    pub async fn stop(&mut self, place: usize) -> io::Result<()> {
        let mut worker = self.workers.remove(place);
        worker.signal(Signal::TERM)?;
        let status = worker.child.wait().await?;
        let _ = worker.reading.await;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("{} left with {status}", worker.name)))
    }

    /// Stops a worker in its tracks.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn freeze(&mut self, place: usize) -> io::Result<()> {
        self.workers[place].is_frozen = true;
        self.workers[place].signal(Signal::STOP)
    }

    /// Lets a frozen worker go on.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn thaw(&mut self, place: usize) -> io::Result<()> {
        self.workers[place].is_frozen = false;
        self.workers[place].signal(Signal::CONT)
    }

    /// Ends every worker without a word.
    pub async fn clear(&mut self) {
        while !self.workers.is_empty() {
            // One that cannot be killed is gone already.
            let _ = self.kill(0).await;
        }
    }
}

impl Worker {
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let raw = self.child.id().and_then(|id| i32::try_from(id).ok());
        let pid = raw.and_then(Pid::from_raw);
        let gone = || io::Error::other(format!("{} has ended already", self.name));
        Ok(kill_process(pid.ok_or_else(gone)?, signal)?)
    }
}
