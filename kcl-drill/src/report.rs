//! The end of a drill: what it came to, for machines and for the prints.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::kinds::Scenario;
use crate::measure::{Move, RoundSpan, Spread, changes, failovers, round_of};
use crate::scenario::Played;
use crate::stage::{Stage, Trouble};
use crate::verdict::{Lineage, judge};

/// Details kept, each a line.
const DETAILS: usize = 20;

/// What `--json` writes, for each scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub scenario: String,
    pub rounds: usize,
    pub invalid_rounds: usize,
    /// From the loss of a worker to the first record of each of its shards elsewhere.
    pub failover_ms: Spread,
    /// Of each change of owner, in valid rounds.
    pub pause_ms: Spread,
    /// Of each shard and valid round, all its pauses together.
    pub pause_per_shard_ms: Spread,
    /// From the start of a worker to its last shard, in valid rounds.
    pub start_ms: Spread,
    pub records: usize,
    pub lost: usize,
    pub duplicates: usize,
    pub out_of_order: usize,
    pub overlaps: usize,
    pub overruns: usize,
    pub stale_effects_accepted: u64,
    pub stale_effects_rejected: u64,
    pub effects_accepted: u64,
    /// Changes of owner in all rounds.
    pub moves: usize,
    /// Of one shard in one round.
    pub most_moves_of_a_shard: usize,
    /// Leases taken from their owner, and those taken though the owner was not fenced.
    pub takes: usize,
    pub takes_without_fence: usize,
    pub caught_up_after_s: Option<f64>,
    /// Requests at the proxy during the rounds, by operation.
    pub table_requests_per_s: BTreeMap<String, f64>,
    pub table_writes_per_s: f64,
    pub table_p99_ms: f64,
    /// The whole drill, with its start and end.
    pub wall_s: f64,
    /// What was wrong, for people.
    pub details: Vec<String>,
    /// Why rounds are invalid, for people.
    pub invalid_because: Vec<String>,
    /// Every value behind `failover_ms`.
    pub failovers: Vec<f64>,
    /// Every value behind `pause_ms`.
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
        played: &Played,
        wall_s: f64,
    ) -> Result<Self, Trouble> {
        let shards = stage.list_shards().await?;
        let parents = |shard: &kcl_core::Shard| -> Vec<String> {
            shard.parents.iter().map(ToString::to_string).collect()
        };
        let lineage: Lineage =
            shards.iter().map(|shard| (shard.id.to_string(), parents(shard))).collect();
        let (entries, puts) = (stage.journal.entries(), stage.ledger.puts());
        let verdict = judge(&entries.lines, &puts, &lineage);
        let all_moves = changes(&entries, &puts);
        let moves = Moves::of(&all_moves, &stage.rounds);
        let (takes, unfounded) = stage.proxy.takes();
        let starts = played.starts.iter().zip(&stage.rounds);
        let starts = starts.filter(|(_, round)| round.invalid.is_none());
        let starts: Vec<_> = starts.map(|(took, _)| took.as_secs_f64() * 1e3).collect();
        let sink = stage.sink.counts();
        let invalid = stage.rounds.iter().filter_map(|round| round.invalid.clone());
        let mut report = Self {
            scenario: scenario.name(),
            rounds: stage.rounds.len(),
            pause_per_shard_ms: Spread::of(&moves.per_shard),
            start_ms: Spread::of(&starts),
            records: puts.len(),
            lost: verdict.lost,
            duplicates: verdict.duplicates,
            out_of_order: verdict.out_of_order,
            overlaps: verdict.overlaps,
            overruns: verdict.overruns,
            stale_effects_accepted: sink.stale_accepted,
            stale_effects_rejected: sink.stale_rejected,
            effects_accepted: sink.accepted,
            moves: moves.count,
            most_moves_of_a_shard: moves.most_of_a_shard,
            takes,
            takes_without_fence: unfounded.len(),
            caught_up_after_s: played.caught_up_after.map(|took| took.as_secs_f64()),
            wall_s,
            details: stage.broken.clone(),
            invalid_because: invalid.collect(),
            failovers: failovers(&entries, &stage.rounds),
            pauses: moves.pauses,
            ..Self::default()
        };
        report.invalid_rounds = report.invalid_because.len();
        report.failover_ms = Spread::of(&report.failovers);
        report.pause_ms = Spread::of(&report.pauses);
        report.count_traffic(stage);
        if scenario.moves_nothing() && report.moves > 0 {
            report.details.push(format!("{} moves, and nothing should move", report.moves));
        }
        report.details.extend(verdict.details);
        report.details.extend(unfounded);
        if entries.garbled > 0 {
            let (count, first) = (entries.garbled, &entries.first_garbled);
            report.details.push(format!("{count} lines were none of the contract's: {first}"));
        }
        report.details.truncate(DETAILS);
        Ok(report)
    }

    fn count_traffic(&mut self, stage: &Stage) {
        let seconds: f64 = stage.rounds.iter().map(|round| round.to - round.from).sum();
        let per_second = |count: u64| count as f64 / seconds.max(0.001);
        let requests = stage.traffic.requests.iter();
        self.table_requests_per_s =
            requests.map(|(name, count)| (name.clone(), per_second(*count))).collect();
        self.table_writes_per_s = per_second(stage.traffic.writes());
        self.table_p99_ms = stage.traffic.p99().as_secs_f64() * 1000.0;
    }

    /// True if every record was processed, in order, by one worker at a time, and nothing else
    /// went wrong.
    pub fn is_good(&self) -> bool {
        self.lost == 0
            && self.out_of_order == 0
            && self.overlaps == 0
            && self.stale_effects_accepted == 0
            && self.takes_without_fence == 0
            && self.details.is_empty()
    }

    /// True if some round says something.
    pub fn has_measured(&self) -> bool {
        self.rounds > self.invalid_rounds
    }
}

/// The changes of owner within rounds.
#[derive(Default)]
struct Moves {
    count: usize,
    most_of_a_shard: usize,
    /// Of each move in a valid round.
    pauses: Vec<f64>,
    /// Of each shard and valid round.
    per_shard: Vec<f64>,
}

impl Moves {
    fn of(all: &[Move], rounds: &[RoundSpan]) -> Self {
        let mut moves = Self::default();
        let mut of_shard: BTreeMap<(usize, &str), (usize, f64)> = BTreeMap::new();
        for step in all {
            let Some(round) = round_of(rounds, step.at) else { continue };
            moves.count += 1;
            let sum = of_shard.entry((round, &step.shard)).or_default();
            *sum = (sum.0 + 1, sum.1 + step.pause);
            if rounds[round].invalid.is_none() {
                moves.pauses.push(step.pause);
            }
        }
        moves.most_of_a_shard = of_shard.values().map(|sum| sum.0).max().unwrap_or(0);
        let valid = of_shard.iter().filter(|((round, _), _)| rounds[*round].invalid.is_none());
        moves.per_shard = valid.map(|(_, sum)| sum.1).collect();
        moves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_count_within_rounds_and_pauses_within_valid_ones() {
        let round = |from, invalid: Option<&str>| RoundSpan {
            from,
            to: from + 1.0,
            invalid: invalid.map(str::to_owned),
        };
        let step = |shard: &str, at, pause| Move { shard: shard.into(), at, pause };
        let rounds = [round(1.0, None), round(3.0, Some("slow"))];
        let all = [
            step("a", 0.5, 9.0),
            step("a", 1.1, 10.0),
            step("a", 1.2, 20.0),
            step("b", 1.3, 5.0),
            step("a", 2.5, 9.0),
            step("b", 3.5, 500.0),
        ];
        let moves = Moves::of(&all, &rounds);
        assert_eq!((moves.count, moves.most_of_a_shard), (4, 2));
        assert_eq!(moves.pauses, [10.0, 20.0, 5.0]);
        assert_eq!(moves.per_shard, [30.0, 5.0]);
    }
}
