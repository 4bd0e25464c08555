//! Reports in the terminal.

use crate::measure::Spread;
use crate::plot::Histogram;
use crate::report::Report;

/// One report in full.
pub(crate) fn report(report: &Report) {
    let Report { scenario, rounds, invalid_rounds, .. } = report;
    println!("\n{scenario} ({rounds} rounds, {invalid_rounds} invalid, {:.0} s)", report.wall_s);
    spread("failover", &report.failover_ms);
    spread("pause", &report.pause_ms);
    spread("pauses of a shard", &report.pause_per_shard_ms);
    spread("start", &report.start_ms);
    println!(
        "  {} records: lost {}, out of order {}, overlaps {}, duplicates {}, overruns {}",
        report.records,
        report.lost,
        report.out_of_order,
        report.overlaps,
        report.duplicates,
        report.overruns
    );
    if let Some(passed) = report.passed_open_records {
        println!("  {passed} shards gone on with past a record that nobody was done with");
    }
    if let (Some(accepted), Some(rejected), Some(stale)) =
        (report.effects_accepted, report.stale_effects_rejected, report.stale_effects_accepted)
    {
        println!(
            "  effects: {accepted} accepted, {rejected} stale ones rejected, {stale} accepted"
        );
    }
    if let Some(bad) = report.bad_checkpoints {
        println!("  checkpoints: {} in the table, {bad} wrong", report.checkpoints);
    }
    println!(
        "  {} moves, at most {} of a shard in a round; {} leases taken, {} without a fence",
        report.moves, report.most_moves_of_a_shard, report.takes, report.takes_without_fence
    );
    for (requests, takes) in &report.failover_requests {
        println!(
            "  {takes} takes needed {requests} requests to the table in a row since the fence"
        );
    }
    let requests = report.table_requests_per_s.iter();
    let requests: Vec<_> = requests.map(|(name, rate)| format!("{name} {rate:.1}")).collect();
    println!(
        "  table: {:.1} writes/s, p50 {:.1} ms, p99 {:.0} ms; requests/s: {}",
        report.table_writes_per_s,
        report.table_p50_ms,
        report.table_p99_ms,
        requests.join(", ")
    );
    if let Some(took) = report.caught_up_after_s {
        println!("  caught up after {took:.1} s");
    }
    report.invalid_because.iter().for_each(|why| println!("  - invalid: {why}"));
    report.details.iter().for_each(|detail| println!("  ! {detail}"));
    for (title, values) in [
        ("from the loss of a worker to its shards' next record", &report.failovers),
        ("pauses at changes of owner", &report.pauses),
    ] {
        if !values.is_empty() {
            println!("  {title}\n{}", Histogram::of(values).in_text());
        }
    }
}

fn spread(name: &str, spread: &Spread) {
    if spread.n > 0 {
        let Spread { p50, p99, max, n } = spread;
        println!("  {name:<18} p50 {p50:>6.0} ms  p99 {p99:>6.0} ms  max {max:>6.0} ms  ({n})");
    }
}

/// A count, or a dash if nothing is known of it.
pub(crate) fn known(count: Option<impl ToString>) -> String {
    count.map_or_else(|| "-".to_owned(), |count| count.to_string())
}

/// What `--json` writes: a report, or a list of them.
pub(crate) fn json(reports: &[Report], is_all: bool) -> serde_json::Result<String> {
    let text = match reports {
        [report] if !is_all => serde_json::to_string_pretty(report)?,
        reports => serde_json::to_string_pretty(reports)?,
    };
    Ok(text + "\n")
}

const COLUMNS: [(&str, usize); 10] = [
    ("rounds", 13),
    ("failover p50/p99/max", 22),
    ("pause p50/p99/max", 22),
    ("lost", 6),
    ("order", 6),
    ("overlaps", 8),
    ("stale", 6),
    ("rejected", 8),
    ("twice", 6),
    ("moves", 6),
];

/// All reports in one table, a row each; what went wrong is marked.
pub(crate) fn summary(reports: &[Report]) -> String {
    let row = |name: &str, cells: [String; 10]| {
        let cells = cells.iter().zip(COLUMNS);
        let cells: Vec<_> = cells.map(|(cell, (_, width))| format!("{cell:>width$}")).collect();
        format!("{name:<14} {}", cells.join(" "))
    };
    let three = |spread: &Spread| match spread.n {
        0 => "-".to_owned(),
        _ => format!("{:.0} / {:.0} / {:.0} ms", spread.p50, spread.p99, spread.max),
    };
    let mut text = format!("\n{}\n", row("scenario", COLUMNS.map(|(name, _)| name.to_owned())));
    for report in reports {
        let cells = [
            format!("{} ({} inv.)", report.rounds, report.invalid_rounds),
            three(&report.failover_ms),
            three(&report.pause_ms),
            report.lost.to_string(),
            report.out_of_order.to_string(),
            report.overlaps.to_string(),
            known(report.stale_effects_accepted),
            known(report.stale_effects_rejected),
            report.duplicates.to_string(),
            report.moves.to_string(),
        ];
        let mark = if report.is_good() { "" } else { "  !" };
        text += &format!("{}{mark}\n", row(&report.scenario, cells));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(scenario: &str, lost: usize) -> Report {
        let failover_ms = Spread::of(&[1684.0]);
        let stale_effects_accepted = Some(0);
        let scenario = scenario.to_owned();
        Report {
            scenario,
            rounds: 4,
            lost,
            failover_ms,
            stale_effects_accepted,
            ..Report::default()
        }
    }

    #[test]
    fn the_table_has_a_row_of_each_scenario_and_marks_what_went_wrong() {
        let text = summary(&[report("kill", 0), report("kill-reaped", 3)]);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let rows: Vec<_> = text.lines().skip(1).map(words).collect();
        assert_eq!(rows[0][..2], ["scenario", "rounds"]);
        let spread = ["1684", "/", "1684", "/", "1684", "ms"];
        let row = |name: &str, lost: &str| {
            let start = [name, "4", "(0", "inv.)"].into_iter().chain(spread);
            let end = ["-", lost, "0", "0", "0", "-", "0", "0"];
            start.chain(end).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(rows[1], row("kill", "0"));
        assert_eq!(rows[2][..rows[2].len() - 1], row("kill-reaped", "3"));
        assert_eq!((rows[2].last().map(String::as_str), rows.len()), (Some("!"), 3));
        let starts = |row: usize| text.lines().skip(1).nth(row).unwrap().find("1684");
        assert_eq!(starts(1), starts(2), "the columns stand under each other");
    }

    #[test]
    fn one_scenario_is_a_report_and_all_of_them_are_a_list() {
        let parsed = |reports: &[Report], is_all| -> serde_json::Value {
            serde_json::from_str(&json(reports, is_all).unwrap()).unwrap()
        };
        assert_eq!(parsed(&[report("kill", 0)], false)["scenario"], "kill");
        assert_eq!(parsed(&[report("kill", 0)], true)[0]["scenario"], "kill");
        let both = parsed(&[report("kill", 0), report("stop", 1)], true);
        assert_eq!((&both[1]["scenario"], &both[1]["lost"]), (&"stop".into(), &1.into()));
    }
}
