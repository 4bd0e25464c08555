//! The end of a drill: what it came to, for machines and for the prints.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::contract::LineEvent;
use crate::kinds::Scenario;
use crate::ledger::Puts;
use crate::measure::{Move, RoundSpan, Spread, changes, failovers, round_of};
use crate::record::Entries;
use crate::scenario::Played;
use crate::stage::{Stage, Trouble};
use crate::verdict::{Evidence, Lineage, judge};

/// Details kept, each a line.
const DETAILS: usize = 20;

/// How long the lag may take to come back after a throttling.
const CATCH_UP: Duration = Duration::from_secs(30);

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
    /// At the sink; `None` if nothing came to it: nothing is known then.
    pub stale_effects_accepted: Option<usize>,
    pub stale_effects_rejected: Option<u64>,
    pub effects_accepted: Option<usize>,
    /// Seen on the wire, and how many of them were wrong; `None` if none was seen.
    pub checkpoints: usize,
    pub bad_checkpoints: Option<usize>,
    /// Shards that somebody went on with past a record that nobody was done with; `None` if the
    /// workers tell of no batch under which fence it was.
    pub passed_open_records: Option<usize>,
    /// Shards begun by two workers under one fence; `None` if the workers tell none.
    pub shared_fences: Option<usize>,
    /// Open shards that nobody held or held unevenly, and holes between leases, once the fleet had
    /// come to rest; `None` if that was not looked at.
    pub bad_rows: Option<usize>,
    /// Changes of owner in all rounds.
    pub moves: usize,
    /// Of one shard in one round.
    pub most_moves_of_a_shard: usize,
    /// Leases taken from their owner, and those taken though the owner was not fenced.
    pub takes: usize,
    pub takes_without_fence: usize,
    /// Of `kill-reaped`, in all rounds: how many takes needed so many requests to the table that
    /// their taker made one after the other from the fence on, the take itself included.
    pub failover_requests: BTreeMap<usize, usize>,
    /// The longest of valid rounds.
    pub caught_up_after_s: Option<f64>,
    /// Requests that the proxy slowed down, lost, doubled or refused, in the whole drill.
    pub harmed_requests: u64,
    /// Requests at the proxy during the rounds, by operation.
    pub table_requests_per_s: BTreeMap<String, f64>,
    pub table_writes_per_s: f64,
    pub table_p50_ms: f64,
    pub table_p99_ms: f64,
    /// Lines the workers wrote, by event.
    pub lines: BTreeMap<&'static str, usize>,
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
        let mut report = Self {
            scenario: scenario.name(),
            rounds: stage.rounds.len(),
            records: puts.len(),
            wall_s,
            details: stage.broken.clone(),
            invalid_because: stage
                .rounds
                .iter()
                .filter_map(|round| round.invalid.clone())
                .collect(),
            bad_rows: stage.bad_rows,
            ..Self::default()
        };
        report.invalid_rounds = report.invalid_because.len();
        report.judge(stage, scenario, &entries, &puts, &lineage);
        report.measure(&changes(&entries, &puts), failovers(&entries, &stage.rounds), stage);
        report.note_played(scenario, played, &stage.rounds);
        if scenario == Scenario::KillReaped {
            for requests in stage.proxy.takeovers() {
                *report.failover_requests.entry(requests).or_default() += 1;
            }
        }
        report.count_traffic(stage);
        for line in &entries.lines {
            *report.lines.entry(line.event.name()).or_default() += 1;
        }
        if scenario.moves_nothing() && report.moves > 0 {
            report.details.push(format!("{} moves, and nothing should move", report.moves));
        }
        if entries.garbled > 0 {
            let (count, first) = (entries.garbled, &entries.first_garbled);
            report.details.push(format!("{count} lines were none of the contract's: {first}"));
        }
        report.details.truncate(DETAILS);
        Ok(report)
    }

    /// What the checkers say. What there is no evidence of stays empty.
    fn judge(
        &mut self,
        stage: &Stage,
        scenario: Scenario,
        entries: &Entries,
        puts: &Puts,
        lineage: &Lineage,
    ) {
        let (checkpoints, sink) = (stage.proxy.checkpoints(), stage.sink.heard());
        let still = stage.rounds.iter().map(|round| (round.from, round.to));
        let still: Vec<_> = still.filter(|_| scenario.moves_nothing()).collect();
        // Fences of one table say nothing of those of another one.
        let lines = if scenario.has_one_table() { entries.lines.as_slice() } else { &[] };
        let verdict = judge(&Evidence {
            lines,
            puts,
            lineage,
            checkpoints: &checkpoints,
            effects: &sink.accepted,
            still: &still,
        });
        self.lost = verdict.lost;
        self.duplicates = verdict.duplicates;
        self.out_of_order = verdict.out_of_order;
        self.overlaps = verdict.overlaps;
        self.overruns = verdict.overruns;
        let has_effects = !sink.accepted.is_empty() || sink.stale_rejected > 0;
        self.stale_effects_accepted = has_effects.then_some(verdict.stale_effects_accepted);
        self.stale_effects_rejected = has_effects.then_some(sink.stale_rejected);
        self.effects_accepted = has_effects.then_some(sink.accepted.len());
        self.checkpoints = checkpoints.len();
        self.bad_checkpoints = (!checkpoints.is_empty()).then_some(verdict.bad_checkpoints);
        let tells_fences = lines
            .iter()
            .any(|line| matches!(line.event, LineEvent::ShardStart { fence: Some(_), .. }));
        self.shared_fences = tells_fences.then_some(verdict.shared_fences);
        let tells_batches = lines
            .iter()
            .any(|line| matches!(line.event, LineEvent::Records { fence: Some(_), .. }));
        self.passed_open_records = tells_batches.then_some(verdict.passed_open_records);
        let (takes, unfounded) = stage.proxy.takes();
        self.takes = takes;
        self.takes_without_fence = unfounded.len();
        self.harmed_requests = stage.proxy.harmed();
        self.details.extend(verdict.details);
        self.details.extend(unfounded);
    }

    fn measure(&mut self, changes: &[Move], failovers: Vec<f64>, stage: &Stage) {
        let moves = Moves::of(changes, &stage.rounds);
        self.moves = moves.count;
        self.most_moves_of_a_shard = moves.most_of_a_shard;
        self.pause_per_shard_ms = Spread::of(&moves.per_shard);
        self.pause_ms = Spread::of(&moves.pauses);
        self.pauses = moves.pauses;
        self.failover_ms = Spread::of(&failovers);
        self.failovers = failovers;
    }

    /// What the scenario itself measured, in valid rounds.
    fn note_played(&mut self, scenario: Scenario, played: &Played, rounds: &[RoundSpan]) {
        let in_valid = |took: &[Duration]| -> Vec<f64> {
            let valid = took.iter().zip(rounds).filter(|(_, round)| round.invalid.is_none());
            valid.map(|(took, _)| took.as_secs_f64()).collect()
        };
        let starts: Vec<_> = in_valid(&played.starts).iter().map(|took| took * 1e3).collect();
        self.start_ms = Spread::of(&starts);
        self.caught_up_after_s = in_valid(&played.caught_up_after).into_iter().reduce(f64::max);
        let bound = CATCH_UP.as_secs_f64();
        if let Some(took) = self.caught_up_after_s.filter(|took| *took > bound)
            && scenario == Scenario::Throttle
        {
            self.details.push(format!("caught up only {took:.0} s after the throttling"));
        }
    }

    fn count_traffic(&mut self, stage: &Stage) {
        let seconds: f64 = stage.rounds.iter().map(|round| round.to - round.from).sum();
        let per_second = |count: u64| count as f64 / seconds.max(0.001);
        let requests = stage.traffic.requests.iter();
        self.table_requests_per_s =
            requests.map(|(name, count)| (name.clone(), per_second(*count))).collect();
        self.table_writes_per_s = per_second(stage.traffic.writes());
        self.table_p50_ms = stage.traffic.p50().as_secs_f64() * 1000.0;
        self.table_p99_ms = stage.traffic.p99().as_secs_f64() * 1000.0;
    }

    /// True if every record was processed, in order, by one worker at a time, and nothing else
    /// went wrong.
    pub fn is_good(&self) -> bool {
        self.lost == 0
            && self.out_of_order == 0
            && self.overlaps == 0
            && self.stale_effects_accepted.unwrap_or(0) == 0
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

    #[test]
    fn what_a_round_took_counts_if_the_round_is_valid() {
        let round = |invalid: Option<&str>| RoundSpan {
            from: 1.0,
            to: 2.0,
            invalid: invalid.map(str::to_owned),
        };
        let seconds = |seconds: &[u64]| seconds.iter().copied().map(Duration::from_secs).collect();
        let rounds = [round(None), round(Some("slow")), round(None)];
        let played = Played { caught_up_after: seconds(&[2, 50, 3]), starts: seconds(&[1, 9, 2]) };
        let mut report = Report::default();
        report.note_played(Scenario::Throttle, &played, &rounds);
        assert_eq!((report.caught_up_after_s, report.start_ms.max), (Some(3.0), 2000.0));
        assert!(report.details.is_empty());
        report.note_played(Scenario::Throttle, &played, &[round(None), round(None)]);
        assert_eq!(report.caught_up_after_s, Some(50.0));
        assert!(report.details[0].contains("only 50 s"), "{:?}", report.details);
        report.note_played(Scenario::Throttle, &played, &[round(Some("slow"))]);
        assert_eq!((report.caught_up_after_s, report.start_ms.n), (None, 0));
    }
}
