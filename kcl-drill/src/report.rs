//! The end of a drill: for people, and for machines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::args::Scenario;
use crate::measure::{Spread, changes, failovers};
use crate::plot::Histogram;
use crate::scenario::Played;
use crate::stage::{Stage, Trouble};
use crate::verdict::{Lineage, judge};

/// What `--json` writes, for each scenario.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub scenario: String,
    pub rounds: u32,
    pub invalid_rounds: usize,
    pub failover_ms: Spread,
    pub pause_ms: Spread,
    /// Of each shard, all its pauses together.
    pub pause_per_shard_ms: Spread,
    pub records: usize,
    pub lost: usize,
    pub duplicates: usize,
    pub out_of_order: usize,
    pub overlaps: usize,
    pub overruns: usize,
    pub stale_effects_accepted: u64,
    pub stale_effects_rejected: u64,
    pub effects_accepted: u64,
    pub moves: usize,
    pub most_moves_of_a_shard: usize,
    pub caught_up_after_s: Option<f64>,
    /// Requests at the proxy, by operation.
    pub table_requests_per_s: BTreeMap<String, f64>,
    pub table_writes_per_s: f64,
    pub table_p99_ms: f64,
    pub wall_s: f64,
    /// What was wrong, for people; at most 20.
    pub details: Vec<String>,
    #[serde(skip)]
    pub failovers: Vec<f64>,
    #[serde(skip)]
    pub pauses: Vec<f64>,
}

impl Report {
    /// Puts together what happened on a stage.
    ///
    /// # Errors
    /// The stream does not answer.
    pub async fn of(
        stage: &Stage,
        scenario: Scenario,
        rounds: u32,
        played: Played,
        wall_s: f64,
    ) -> Result<Self, Trouble> {
        let shards = stage.list_shards().await?;
        let lineage: Lineage = shards
            .into_iter()
            .map(|shard| {
                (shard.id.to_string(), shard.parents.iter().map(ToString::to_string).collect())
            })
            .collect();
        let (entries, puts) = (stage.journal.entries(), stage.ledger.puts());
        let verdict = judge(&entries.lines, &puts, &lineage);
        let moves = changes(&entries, &puts);
        let mut of_shard: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
        for step in &moves {
            let sum = of_shard.entry(&step.shard).or_default();
            *sum = (sum.0 + 1, sum.1 + step.pause);
        }
        let totals: Vec<f64> = of_shard.values().map(|sum| sum.1).collect();
        let failovers = failovers(&entries, &played.invalid);
        let pauses: Vec<f64> = moves.iter().map(|step| step.pause).collect();
        let per_second = |count: u64| count as f64 / wall_s.max(0.001);
        let requests = stage.traffic.requests.iter();
        let sink = stage.sink.counts();
        let mut details = played.broken;
        details.extend(verdict.details);
        if entries.garbled > 0 {
            details.push(format!("{} lines were none of the contract's", entries.garbled));
        }
        details.truncate(20);
        Ok(Self {
            scenario: scenario.name(),
            rounds,
            invalid_rounds: played.invalid.len(),
            failover_ms: Spread::of(&failovers),
            pause_ms: Spread::of(&pauses),
            pause_per_shard_ms: Spread::of(&totals),
            records: puts.len(),
            lost: verdict.lost,
            duplicates: verdict.duplicates,
            out_of_order: verdict.out_of_order,
            overlaps: verdict.overlaps,
            overruns: verdict.overruns,
            stale_effects_accepted: sink.stale_accepted,
            stale_effects_rejected: sink.stale_rejected,
            effects_accepted: sink.accepted,
            moves: moves.len(),
            most_moves_of_a_shard: of_shard.values().map(|sum| sum.0).max().unwrap_or(0),
            caught_up_after_s: played.caught_up_after.map(|took| took.as_secs_f64()),
            table_requests_per_s: requests
                .map(|(name, count)| (name.clone(), per_second(*count)))
                .collect(),
            table_writes_per_s: per_second(stage.traffic.writes()),
            table_p99_ms: stage.traffic.p99().as_secs_f64() * 1000.0,
            wall_s,
            details,
            failovers,
            pauses,
        })
    }

    /// True if every record was processed, in order, by one worker at a time.
    pub fn is_good(&self) -> bool {
        self.lost == 0
            && self.out_of_order == 0
            && self.overlaps == 0
            && self.stale_effects_accepted == 0
            && self.details.is_empty()
    }

    /// What the plot shows: failovers where there are any, else pauses.
    pub fn histogram(&self) -> Option<(String, Histogram)> {
        let (what, values) = match self.failovers.is_empty() {
            false => ("from the loss of a worker to its shards' next record", &self.failovers),
            true => ("pause of a shard at a change of owner", &self.pauses),
        };
        let title = format!("{}: {what}", self.scenario);
        (!values.is_empty()).then(|| (title, Histogram::of(values)))
    }

    pub fn print(&self) {
        let line = |name: &str, spread: &Spread| {
            if spread.n > 0 {
                let Spread { p50, p99, max, n } = spread;
                println!(
                    "  {name:<18} p50 {p50:>6.0} ms  p99 {p99:>6.0} ms  max {max:>6.0} ms  ({n})"
                );
            }
        };
        println!("\n{} ({} rounds, {} invalid)", self.scenario, self.rounds, self.invalid_rounds);
        line("failover", &self.failover_ms);
        line("pause", &self.pause_ms);
        line("pauses of a shard", &self.pause_per_shard_ms);
        println!(
            "  {} records: lost {}, out of order {}, overlaps {}, stale effects accepted {} \
             (rejected {}), duplicates {}, overruns {}",
            self.records,
            self.lost,
            self.out_of_order,
            self.overlaps,
            self.stale_effects_accepted,
            self.stale_effects_rejected,
            self.duplicates,
            self.overruns
        );
        println!(
            "  {} moves (at most {} of a shard), table: {:.1} writes/s, p99 {:.0} ms, {:.0} s",
            self.moves,
            self.most_moves_of_a_shard,
            self.table_writes_per_s,
            self.table_p99_ms,
            self.wall_s
        );
        if let Some(took) = self.caught_up_after_s {
            println!("  caught up after {took:.1} s");
        }
        self.details.iter().for_each(|detail| println!("  ! {detail}"));
        if let Some((title, histogram)) = self.histogram() {
            println!("  {title}\n{}", histogram.in_text());
        }
    }
}
