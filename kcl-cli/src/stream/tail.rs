//! `kcl stream tail`: follows a stream through splits and merges. A child is read once all of its
//! parents that are followed have ended, so that the records of one key come in order.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{
    ChildShard, Record, Shard, ShardFilter, ShardFilterType, ShardIteratorType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use kcl_core::{Clock, SystemClock};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::lineage::{Child, Lineage, has_all_children};
use super::listing::shards;
use super::{Failure, told};
use crate::output::{Output, Printed};

#[derive(Debug, Parser)]
pub struct Args {
    /// Name of the stream
    stream: String,

    /// Where to begin: latest, trim-horizon, or a time in Unix seconds
    #[arg(long, default_value = "latest", value_parser = from)]
    from: From,

    /// End after so many records
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Latest,
    TrimHorizon,
    Time(f64),
}

fn from(text: &str) -> Result<From, String> {
    match text {
        "latest" => Ok(From::Latest),
        "trim-horizon" => Ok(From::TrimHorizon),
        _ => match text.parse::<f64>() {
            Ok(seconds) if (0.0..1e11).contains(&seconds) => Ok(From::Time(seconds)),
            _ => Err("use latest, trim-horizon, or Unix seconds such as 1767225600".to_owned()),
        },
    }
}

/// Between two calls at the tip: the service allows five calls a second to all readers of a shard.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// After a refusal for the rate, or a failure.
const WAIT: Duration = Duration::from_secs(1);
/// Failures of one shard after one another until it is given up.
const PATIENCE: u32 = 30;
/// How far the service's clock may be behind this one's; records of that time may be brought that
/// were there before.
const CLOCKS_APART_SECONDS: f64 = 60.0;
/// Batches between the readers and the printer.
const AHEAD: usize = 16;

/// What a reader brings.
enum News {
    Records { shard: String, records: Vec<Record> },
}

/// A shard read to its end.
struct Ended {
    shard: String,
    /// Its children, and maybe others.
    listed: Vec<Child>,
}

pub async fn run(client: &Client, output: &Output, args: &Args) -> Result<(), Failure> {
    let (news, mut received) = mpsc::channel(AHEAD);
    let mut follower = Follower {
        client: client.clone(),
        stream: args.stream.clone(),
        news,
        readers: JoinSet::new(),
        lineage: Lineage::default(),
        from: args.from,
    };
    let listed = first_shards(client, args).await?;
    let past = if args.from == From::Latest { past(&listed) } else { BTreeSet::new() };
    let listed = listed.into_iter().map(Child::of).collect();
    for shard in follower.lineage.begin(listed, &past) {
        follower.read(shard, args.from);
    }
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        tokio::select! { biased;
            Some(News::Records { shard, records }) = received.recv() => {
                for record in records.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                    left -= 1;
                    if let Err(stopped) = print(output, &shard, record) {
                        return stopped.into_result();
                    }
                }
            }
            ended = follower.readers.join_next() => match ended {
                None => return Err(format!("stream {} has no shard left to follow", args.stream)),
                Some(Ok(Ok(ended))) => follower.go_on(ended),
                Some(Ok(Err(why))) => return Err(why),
                Some(Err(error)) => return Err(format!("a reader broke off: {error}")),
            }
        }
    }
    Ok(())
}

async fn first_shards(client: &Client, args: &Args) -> Result<Vec<Shard>, Failure> {
    let filter = ShardFilter::builder();
    let filter = match args.from {
        // A filter for those open now would make a new choice for every page of the listing.
        From::Latest => return shards(client, &args.stream, None).await,
        From::TrimHorizon => filter.r#type(ShardFilterType::AtTrimHorizon),
        From::Time(seconds) => {
            filter.r#type(ShardFilterType::AtTimestamp).timestamp(DateTime::from_secs_f64(seconds))
        }
    };
    let filter = filter.build().map_err(|error| error.to_string())?;
    shards(client, &args.stream, Some(filter)).await
}

/// The closed ones whose children are all listed: they are history. Another is read to its end,
/// which tells what came out of it.
fn past(listed: &[Shard]) -> BTreeSet<String> {
    let children: Vec<_> = listed.iter().cloned().map(Child::of).collect();
    let closed = listed.iter().filter(|shard| !is_open(shard)).map(|shard| shard.shard_id.clone());
    closed.filter(|shard| has_all_children(shard, &children)).collect()
}

fn is_open(shard: &Shard) -> bool {
    let numbers = shard.sequence_number_range.as_ref();
    numbers.is_none_or(|numbers| numbers.ending_sequence_number.is_none())
}

struct Follower {
    client: Client,
    stream: String,
    news: mpsc::Sender<News>,
    readers: JoinSet<Result<Ended, Failure>>,
    lineage: Lineage,
    from: From,
}

impl Follower {
    fn read(&mut self, shard: String, from: From) {
        let (client, stream, news) = (self.client.clone(), self.stream.clone(), self.news.clone());
        self.readers.spawn(async move {
            let reader = Reader { client, stream, shard, from, began: None, last: None };
            reader.run(news).await
        });
    }

    fn go_on(&mut self, ended: Ended) {
        // A child that waited is younger than the start at latest, but it may be older than a time.
        let from = match self.from {
            From::Latest => From::TrimHorizon,
            other => other,
        };
        for shard in self.lineage.end(&ended.shard, ended.listed) {
            self.read(shard, from);
        }
    }
}

struct Reader {
    client: Client,
    stream: String,
    shard: String,
    from: From,
    /// When it asked for its first place (Unix seconds).
    began: Option<f64>,
    /// The number of the last record brought.
    last: Option<String>,
}

impl Reader {
    async fn run(mut self, news: mpsc::Sender<News>) -> Result<Ended, Failure> {
        let mut iterator = self.iterator().await?;
        let mut failures = 0;
        loop {
            let got = self.client.get_records().shard_iterator(&iterator).send().await;
            let got = match got {
                Ok(got) => got,
                Err(error) => {
                    failures += 1;
                    let code = error.code().unwrap_or_default().to_owned();
                    if failures > PATIENCE || code == "ResourceNotFoundException" {
                        return Err(format!("{}: {}", self.shard, told(error)));
                    }
                    SystemClock.sleep(WAIT).await;
                    if code == "ExpiredIteratorException" {
                        iterator = self.iterator().await?;
                    }
                    continue;
                }
            };
            failures = 0;
            let (records, next) = (got.records, got.next_shard_iterator);
            let is_behind = got.millis_behind_latest.is_some_and(|millis| millis > 0);
            if let Some(last) = records.last() {
                self.last = Some(last.sequence_number().to_owned());
                let shard = self.shard.clone();
                // The printer is gone: so is who wanted the records.
                let _ = news.send(News::Records { shard, records }).await;
            }
            match next {
                Some(next) => iterator = next,
                None => {
                    let child = |child: ChildShard| Child {
                        shard: child.shard_id,
                        parents: child.parent_shards,
                    };
                    let named = got.child_shards.unwrap_or_default();
                    let mut listed: Vec<_> = named.into_iter().map(child).collect();
                    // What the other parent of a merged one came out of is in the listing alone.
                    if listed.is_empty() || listed.iter().any(|child| child.parents.len() != 1) {
                        listed = self.listing().await?;
                    }
                    return Ok(Ended { shard: self.shard, listed });
                }
            }
            SystemClock.sleep(if is_behind { POLL_EVERY / 2 } else { POLL_EVERY }).await;
        }
    }

    /// Of all shards. Some engines end one without naming its children. A shard is closed by a
    /// split or a merge alone, so there are some, and a listing without all of them came too early.
    async fn listing(&self) -> Result<Vec<Child>, Failure> {
        let mut missing = format!("{} has ended, but its children are not listed", self.shard);
        for _ in 0..PATIENCE {
            match shards(&self.client, &self.stream, None).await {
                Ok(shards) => {
                    let listed: Vec<_> = shards.into_iter().map(Child::of).collect();
                    if has_all_children(&self.shard, &listed) {
                        return Ok(listed);
                    }
                }
                Err(why) => missing = format!("the children of {}: {why}", self.shard),
            }
            SystemClock.sleep(WAIT).await;
        }
        Err(missing)
    }

    /// Where to begin, or to go on after the last record.
    async fn iterator(&mut self) -> Result<String, Failure> {
        let now = SystemClock.wall_millis() as f64 / 1000.0;
        let from = match (self.from, self.began.replace(self.began.unwrap_or(now))) {
            // The first place expired: what is latest now may be past records never brought.
            (From::Latest, Some(began)) => From::Time(began - CLOCKS_APART_SECONDS),
            (from, _) => from,
        };
        let request = self.client.get_shard_iterator().stream_name(&self.stream);
        let request = request.shard_id(&self.shard);
        let request = match (&self.last, from) {
            (Some(last), _) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(last),
            (None, From::Latest) => request.shard_iterator_type(ShardIteratorType::Latest),
            (None, From::TrimHorizon) => {
                request.shard_iterator_type(ShardIteratorType::TrimHorizon)
            }
            (None, From::Time(seconds)) => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_secs_f64(seconds)),
        };
        let answer = request.send().await.map_err(told)?;
        answer.shard_iterator.ok_or_else(|| "the service gives no iterator".to_owned())
    }
}

fn print(output: &Output, shard: &str, record: &Record) -> Printed {
    let data = record.data().as_ref();
    let text = || {
        let data = String::from_utf8_lossy(data);
        format!("{shard} {} {data}", record.partition_key().unwrap_or("-"))
    };
    let object = || {
        let arrived = record.approximate_arrival_timestamp().and_then(|at| at.to_millis().ok());
        let (text, base64) = match std::str::from_utf8(data) {
            Ok(text) => (Some(text), None),
            Err(_) => (None, Some(STANDARD.encode(data))),
        };
        json!({
            "shard": shard, "sequence_number": record.sequence_number(),
            "partition_key": record.partition_key(), "arrived_millis": arrived,
            "data": text, "data_base64": base64,
        })
    };
    output.line(text, object)
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
