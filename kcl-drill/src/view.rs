//! The live view: who holds what, and what comes through, drawn over itself on a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use kcl_core::{Clock, SystemClock};

use crate::board::{Board, Notes};
use crate::ledger::Ledger;
use crate::limits::VIEW_EVERY;
use crate::proxy::Proxy;
use crate::record::Journal;
use crate::stage::Stage;

/// What is looked at.
pub(crate) struct View {
    board: Board,
    journal: Journal,
    ledger: Ledger,
    proxy: Proxy,
    /// Lines that stand on the terminal.
    drawn: AtomicUsize,
}

impl View {
    pub fn of(stage: &Stage) -> Self {
        Self {
            board: stage.board.clone(),
            journal: stage.journal.clone(),
            ledger: stage.ledger.clone(),
            proxy: stage.proxy.clone(),
            drawn: AtomicUsize::new(0),
        }
    }

    /// Takes it off the terminal.
    pub fn clear(&self) {
        self.redraw("");
    }

    fn redraw(&self, text: &str) {
        let before = self.drawn.swap(text.lines().count(), Ordering::Relaxed);
        // Nobody is there to be told that the terminal is gone.
        let _ = write!(std::io::stderr().lock(), "{}{text}", erase(before));
    }

    /// Draws until dropped; on what is no terminal, a line every ten rounds.
    pub async fn show(&self) {
        let is_terminal = std::io::stderr().is_terminal();
        let started = SystemClock.monotonic();
        let mut told = 0;
        loop {
            SystemClock.sleep(VIEW_EVERY).await;
            let notes = self.board.notes().clone();
            if is_terminal {
                let passed = SystemClock.monotonic().since(started).as_secs();
                self.redraw(&self.draw(&notes, passed));
            } else if notes.round / 10 > told {
                told = notes.round / 10;
                eprintln!("{}: round {} of {}", notes.scenario, notes.round, notes.rounds);
            }
        }
    }

    fn draw(&self, notes: &Notes, seconds: u64) -> String {
        let owners = self.journal.owners();
        let mut held: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (shard, owner) in &owners {
            held.entry(owner).or_default().push(short(shard));
        }
        let (put, processed) = (self.ledger.puts().len(), self.journal.processed());
        let (requests, p99) = self.proxy.glance();
        let mut text = format!(
            "{}  round {} of {} ({} invalid)  {seconds} s\n",
            notes.scenario, notes.round, notes.rounds, notes.invalid
        );
        for (name, is_frozen) in &notes.fleet {
            let shards = held.get(name.as_str()).map_or(&[][..], Vec::as_slice);
            let state = if *is_frozen { " (frozen)" } else { "" };
            let _ = writeln!(text, "  {name:<5} {:>3}  {}{state}", shards.len(), listed(shards));
        }
        let _ = writeln!(
            text,
            "  put {put}, processed {processed}, waiting {}; table: {requests} requests in this \
             round, p99 {:.0} ms",
            put.saturating_sub(processed),
            p99.as_secs_f64() * 1000.0
        );
        let _ = writeln!(text, "  {}", notes.said.join("; "));
        text
    }
}

/// Goes back over so many lines and clears them.
fn erase(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\r\x1b[J") }
}

/// The end of a shard's name, which tells it from others.
fn short(shard: &str) -> &str {
    shard.trim_start_matches("shardId-").trim_start_matches('0')
}

/// Shards in a line that fits a terminal.
fn listed(shards: &[&str]) -> String {
    const MOST: usize = 12;
    let names = shards.iter().take(MOST).map(|name| if name.is_empty() { "0" } else { name });
    let mut text = names.collect::<Vec<_>>().join(" ");
    if shards.len() > MOST {
        let _ = write!(text, " and {} more", shards.len() - MOST);
    }
    text
}
