//! The numbers of the Kinesis source, against `kcl serve` in a process of its own:
//! `cargo build --release -p kcl-cli && cargo bench -p kcl-tests-kinesis`; after `--`, some of
//! `latency`, `drain`, `stuck` and `backlog`. It ends with an error if a number is missed that is
//! asked for. What is asked is for two cores; with more, `taskset -c 0,1` before it takes the rest
//! from all its processes.

mod backlog;
mod drain;
#[path = "../kcl_serve.rs"]
mod kcl_serve;
mod latency;
mod memory;
mod serve;
mod stuck;

use std::error::Error;

use kcl_stream_kinesis::{FanOut, KinesisSource};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How records come.
#[derive(Clone, Copy, Debug)]
enum Way {
    Polling,
    FanOut,
}

impl Way {
    const BOTH: [Self; 2] = [Self::Polling, Self::FanOut];

    fn name(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::FanOut => "fan-out",
        }
    }
    /// As of the defaults.
    fn source(self, url: &str, stream: &str) -> KinesisSource {
        let builder = KinesisSource::builder(serve::client(url), stream);
        match self {
            Self::Polling => builder.build(),
            Self::FanOut => builder.fan_out(FanOut::register("bench")).build(),
        }
    }
    /// Without the service's rates.
    fn unlimited_source(self, url: &str, stream: &str) -> KinesisSource {
        let builder = KinesisSource::builder(serve::client(url), stream).unlimited();
        match self {
            Self::Polling => builder.build(),
            Self::FanOut => builder.fan_out(FanOut::register("bench")).build(),
        }
    }
}

fn main() -> Result<()> {
    let asked: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|word| word == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match asked.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [stuck::WORKER, way, url] => {
            let way = if way == Way::FanOut.name() { Way::FanOut } else { Way::Polling };
            println!("{}", runtime.block_on(stuck::worker(way, url))?);
            return Ok(());
        }
        [backlog::PRODUCER, url, bytes, is_aggregated] => {
            let producing = backlog::producer(url, bytes.parse()?, is_aggregated.parse()?);
            println!("{}", runtime.block_on(producing)?);
            return Ok(());
        }
        _ => {}
    }
    let missed = runtime.block_on(play(is_asked))?;
    match missed.is_empty() {
        true => Ok(()),
        false => Err(format!("missed what is asked: {}", missed.join("; ")).into()),
    }
}

/// Plays what is asked for; what did not reach its number, after all the others were played too.
async fn play(is_asked: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut missed = Vec::new();
    let mut told = |is_met: bool, line: String| {
        println!("{line}{}", if is_met { "" } else { " MISSED" });
        missed.extend((!is_met).then_some(line));
    };
    if is_asked("latency") {
        for way in [Way::FanOut, Way::Polling] {
            let (median, p99) = latency::measure(way).await?;
            let asked = latency::asked_p99(way);
            let line = format!(
                "put to processor at 100 records/s, {way:?}: p50 {median:.1} ms, p99 {p99:.1} ms \
                 (asked: at most {asked} ms)"
            );
            told(p99 <= asked, line);
        }
    }
    if is_asked("drain") {
        for way in Way::BOTH {
            let rate = drain::measure(way).await?;
            let asked = drain::ASKED;
            let cores = std::thread::available_parallelism()?;
            let line = format!(
                "draining 1 million records of 100 bytes over 4 shards on {cores} cores, {way:?}: \
                 {rate:.0} records/s (asked: at least {asked})"
            );
            told(rate >= asked, line);
        }
    }
    if is_asked("stuck") {
        for (fill, way) in
            stuck::FILLS.into_iter().flat_map(|fill| Way::BOTH.map(|way| (fill, way)))
        {
            let (budget, grown) = stuck::measure(way, fill).await?;
            println!(
                "memory behind a stuck processor of 4 shards, {fill}, {way:?}: {grown:.0} MiB \
                 more, with a budget of {budget} MiB"
            );
        }
    }
    if is_asked("backlog") {
        for (stream, bytes) in
            backlog::Stream::BOTH.into_iter().flat_map(|of| backlog::SIZES.map(|bytes| (of, bytes)))
        {
            for is_aggregated in [false, true] {
                let (budget, grown) = backlog::measure(stream, bytes, is_aggregated)?;
                let how = if is_aggregated { "in aggregates" } else { "each a record" };
                println!(
                    "memory of a producer behind a stream that is {stream:?}, {bytes} bytes {how}: \
                     {grown:.0} MiB more, with a budget of {budget} MiB"
                );
            }
        }
    }
    Ok(missed)
}
