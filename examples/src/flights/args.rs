//! The command line.

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
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=64))]
    pub workers: u32,

    /// Shards at the start
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(3..=256))]
    pub shards: u32,

    /// Column whose value is the partition key (carrier where blank)
    #[arg(long, default_value = "tailnum", value_name = "COLUMN")]
    pub partition_key: String,

    /// Rows put per second
    #[arg(long, default_value_t = 1800, value_parser = rate)]
    pub rate: u32,

    /// No live view: one line now and then
    #[arg(long)]
    pub plain: bool,

    /// Write the final report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn rate(text: &str) -> Result<u32, String> {
    let rate = text.parse().ok().filter(|rate| (1..=1_000_000).contains(rate));
    rate.ok_or_else(|| "expected 1 to 1000000 rows per second".to_owned())
}
