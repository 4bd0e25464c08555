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
    let requests = report.table_requests_per_s.iter();
    let requests: Vec<_> = requests.map(|(name, rate)| format!("{name} {rate:.1}")).collect();
    println!(
        "  table: {:.1} writes/s, p99 {:.0} ms; requests/s: {}",
        report.table_writes_per_s,
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

/// All reports in one table.
pub(crate) fn summary(reports: &[Report]) {
    println!(
        "\n{:<14} {:>13} {:>22} {:>22} {:>6} {:>6} {:>8} {:>6} {:>8} {:>6} {:>6}",
        "scenario",
        "rounds",
        "failover p50/p99/max",
        "pause p50/p99/max",
        "lost",
        "order",
        "overlaps",
        "stale",
        "rejected",
        "twice",
        "moves"
    );
    let three = |spread: &Spread| match spread.n {
        0 => "-".to_owned(),
        _ => format!("{:.0} / {:.0} / {:.0} ms", spread.p50, spread.p99, spread.max),
    };
    for report in reports {
        println!(
            "{:<14} {:>13} {:>22} {:>22} {:>6} {:>6} {:>8} {:>6} {:>8} {:>6} {:>6}{}",
            report.scenario,
            format!("{} ({} inv.)", report.rounds, report.invalid_rounds),
            three(&report.failover_ms),
            three(&report.pause_ms),
            report.lost,
            report.out_of_order,
            report.overlaps,
            known(report.stale_effects_accepted),
            known(report.stale_effects_rejected),
            report.duplicates,
            report.moves,
            if report.is_good() { "" } else { "  !" }
        );
    }
}
