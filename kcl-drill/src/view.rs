//! The live view: who holds what, and what comes through, drawn over itself on a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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
                self.redraw(&draw(&notes, passed, &self.look()));
            } else if notes.round / 10 > told {
                told = notes.round / 10;
                eprintln!("{}: round {} of {}", notes.scenario, notes.round, notes.rounds);
            }
        }
    }

    fn look(&self) -> Glance {
        let (requests, p99) = self.proxy.glance();
        Glance {
            owners: self.journal.owners(),
            put: self.ledger.puts().len(),
            processed: self.journal.processed(),
            requests,
            p99,
        }
    }
}

/// How it stands at one moment.
struct Glance {
    /// Of each shard.
    owners: BTreeMap<String, String>,
    put: usize,
    processed: usize,
    /// In this round.
    requests: u64,
    /// The table's own.
    p99: Duration,
}

fn draw(notes: &Notes, seconds: u64, glance: &Glance) -> String {
    let Glance { owners, put, processed, requests, p99 } = glance;
    let mut held: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (shard, owner) in owners {
        held.entry(owner).or_default().push(short(shard));
    }
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
        put.saturating_sub(*processed),
        p99.as_secs_f64() * 1000.0
    );
    let _ = writeln!(text, "  {}", notes.said.join("; "));
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_says_who_holds_what_and_what_waits() {
        let owner = |shard: usize, owner: &str| (format!("shardId-{shard:012}"), owner.to_owned());
        let many = (2..16).map(|shard| owner(shard, "w2"));
        let glance = Glance {
            owners: [owner(0, "w1"), owner(1, "w1")].into_iter().chain(many).collect(),
            put: 70,
            processed: 50,
            requests: 12,
            p99: Duration::from_micros(4_200),
        };
        let notes = Notes {
            scenario: "kill".to_owned(),
            round: 2,
            rounds: 10,
            invalid: 1,
            fleet: ["w1", "w2", "w3"].map(|name| (name.to_owned(), name == "w3")).into(),
            said: ["w1 is killed", "w3 is frozen"].map(str::to_owned).into(),
        };
        let wanted = "\
kill  round 2 of 10 (1 invalid)  9 s
  w1      2  0 1
  w2     14  2 3 4 5 6 7 8 9 10 11 12 13 and 2 more
  w3      0   (frozen)
  put 70, processed 50, waiting 20; table: 12 requests in this round, p99 4 ms
  w1 is killed; w3 is frozen
";
        assert_eq!(draw(&notes, 9, &glance), wanted);
        assert_eq!((erase(0).as_str(), erase(6).as_str()), ("", "\x1b[6A\r\x1b[J"));
    }
}
