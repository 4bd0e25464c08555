//! The command line.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Parser;

/// Counts flights and average departure delay per origin and carrier, with a fleet of workers on
/// the bundled stream engine, while workers join, die and leave and shards are split and merged.
/// At the end every figure is checked against a direct pass over the file.
#[derive(Clone, Debug, Parser)]
#[command(name = "flights", version)]
pub struct Args {
    /// Flights to count: a .csv or .csv.gz with the columns carrier, tailnum, origin and dep_delay
    /// [default: the 27,004 flights from New York in January 2013, built in]
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Workers at the start
    #[arg(long, default_value_t = 3, value_parser = workers)]
    pub workers: u32,

    /// Shards at the start (with fewer than 4, the merge may need a child of the split)
    #[arg(long, default_value_t = 4, value_parser = shards)]
    pub shards: u32,

    /// Column whose value is the partition key (carrier where blank)
    #[arg(long, default_value = "tailnum", value_name = "COLUMN")]
    pub partition_key: String,

    /// Rows put per second (a shard takes 1000); less while an event takes long to settle
    #[arg(long, default_value_t = 1800, value_parser = rate)]
    pub rate: u32,

    /// No live view: a line every 2 seconds, as when the output is not a terminal
    #[arg(long)]
    pub plain: bool,

    /// Write the final report as JSON; an older file stays until it is whole
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn within(text: &str, range: RangeInclusive<u32>, expected: &str) -> Result<u32, String> {
    let value = text.parse().ok().filter(|value| range.contains(value));
    value.ok_or_else(|| format!("expected {} to {} {expected}", range.start(), range.end()))
}

fn workers(text: &str) -> Result<u32, String> {
    within(text, 2..=64, "workers: one joins and two leave, and one must be left")
}

fn shards(text: &str) -> Result<u32, String> {
    within(text, 1..=256, "shards")
}

fn rate(text: &str) -> Result<u32, String> {
    within(text, 1..=1_000_000, "rows per second")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Args, String> {
        let all = ["flights"].iter().chain(arguments);
        Args::try_parse_from(all).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let args = parse(&[]).unwrap();
        assert_eq!((args.workers, args.shards, args.rate), (3, 4, 1800));
        assert_eq!(args.partition_key, "tailnum");
        assert!(args.input.is_none() && args.json.is_none() && !args.plain);
    }

    #[test]
    fn a_value_out_of_bounds_is_refused_with_the_reason() {
        for (arguments, reason) in [
            (["--shards", "0"], "expected 1 to 256 shards"),
            (["--workers", "1"], "expected 2 to 64 workers"),
            (["--rate", "0"], "expected 1 to 1000000 rows"),
            (["--rate", "fast"], "expected 1 to 1000000 rows"),
        ] {
            let error = parse(&arguments).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
