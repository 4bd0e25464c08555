//! Streams and shards made, shown and removed.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{Shard, StreamDescriptionSummary, StreamStatus};
use clap::Parser;
use kcl_core::{Clock, SystemClock};
use serde_json::json;

use super::listing::shards;
use super::{Failure, told};
use crate::output::{Output, Stopped};

#[derive(Debug, Parser)]
pub struct Create {
    /// Name of the stream
    stream: String,

    /// Shards it begins with
    #[arg(long, default_value_t = 1, value_name = "N")]
    shards: i32,
}

#[derive(Debug, Parser)]
pub struct Named {
    /// Name of the stream
    stream: String,
}

#[derive(Debug, Parser)]
pub struct Split {
    /// Name of the stream
    stream: String,

    /// Shard to split, such as shardId-000000000000
    shard: String,

    /// Hash key at which the upper half begins [default: the middle]
    #[arg(long, value_name = "HASH_KEY")]
    at: Option<u128>,
}

#[derive(Debug, Parser)]
pub struct Merge {
    /// Name of the stream
    stream: String,

    /// One of the two shards
    shard: String,

    /// The other one
    adjacent: String,
}

#[derive(Debug, Parser)]
pub struct Delete {
    /// Name of the stream
    stream: String,

    /// Do it
    #[arg(long)]
    yes: bool,
}

/// How often a change is asked after.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often at most: five minutes; AWS takes about half a minute.
const LOOKS: u32 = 600;

async fn summary(client: &Client, stream: &str) -> Result<StreamDescriptionSummary, Failure> {
    let answer = client.describe_stream_summary().stream_name(stream).send().await;
    let summary = answer.map_err(told)?.stream_description_summary;
    summary.ok_or_else(|| "the service describes nothing".to_owned())
}

/// Waits until the stream is ready.
async fn active(client: &Client, stream: &str) -> Result<(), Failure> {
    for _ in 0..LOOKS {
        if summary(client, stream).await?.stream_status == StreamStatus::Active {
            return Ok(());
        }
        SystemClock.sleep(LOOK_EVERY).await;
    }
    Err(format!("stream {stream} is still not ACTIVE: look again with `kcl stream describe`"))
}

fn done(output: &Output, did: &str, stream: &str) -> Result<(), Failure> {
    let printed =
        output.line(|| format!("{stream}: {did}"), || json!({"stream": stream, did: true}));
    printed.or_else(Stopped::into_result)
}

pub async fn create(client: &Client, output: &Output, args: &Create) -> Result<(), Failure> {
    let request = client.create_stream().stream_name(&args.stream).shard_count(args.shards);
    request.send().await.map_err(told)?;
    active(client, &args.stream).await?;
    done(output, "created", &args.stream)
}

pub async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    loop {
        let request = client.list_streams().set_exclusive_start_stream_name(after.take());
        let page = request.send().await.map_err(told)?;
        for name in page.stream_names() {
            if let Err(stopped) = output.line(|| name.clone(), || json!({"stream": name})) {
                return stopped.into_result();
            }
        }
        after = page.stream_names().last().cloned();
        if !page.has_more_streams || after.is_none() {
            return Ok(());
        }
    }
}

fn ending(shard: &Shard) -> Option<&str> {
    shard.sequence_number_range().and_then(|range| range.ending_sequence_number())
}

fn keys(shard: &Shard) -> (&str, &str) {
    let range = shard.hash_key_range();
    range.map_or(("?", "?"), |range| (range.starting_hash_key(), range.ending_hash_key()))
}

fn parents(shard: &Shard) -> Vec<&str> {
    let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
    parents.into_iter().flatten().collect()
}

pub async fn describe(client: &Client, output: &Output, args: &Named) -> Result<(), Failure> {
    let about = summary(client, &args.stream).await?;
    let shards = shards(client, &args.stream, None).await?;
    let text = || {
        let mut lines = vec![format!(
            "{}  {}  {} open of {} shards  kept {} h  {}",
            about.stream_name,
            about.stream_status,
            about.open_shard_count,
            shards.len(),
            about.retention_period_hours,
            about.stream_arn
        )];
        lines.extend(shards.iter().map(shard_line));
        lines.join("\n")
    };
    let object = || {
        json!({
            "stream": about.stream_name,
            "arn": about.stream_arn,
            "status": about.stream_status.as_str(),
            "retention_hours": about.retention_period_hours,
            "open_shards": about.open_shard_count,
            "shards": shards.iter().map(shard_object).collect::<Vec<_>>(),
        })
    };
    output.line(text, object).or_else(Stopped::into_result)
}

fn shard_line(shard: &Shard) -> String {
    let state = if ending(shard).is_none() { "open" } else { "closed" };
    let (start, end) = keys(shard);
    let parents = parents(shard).join(" and ");
    let from = if parents.is_empty() { "" } else { "  from " };
    format!("  {}  {state:6}  {start}..{end}{from}{parents}", shard.shard_id())
}

fn shard_object(shard: &Shard) -> serde_json::Value {
    let (start, end) = keys(shard);
    json!({
        "shard": shard.shard_id(),
        "open": ending(shard).is_none(),
        "starting_hash_key": start,
        "ending_hash_key": end,
        "parents": parents(shard),
    })
}

pub async fn split(client: &Client, output: &Output, args: &Split) -> Result<(), Failure> {
    let at = match args.at {
        Some(at) => at,
        None => {
            let all = shards(client, &args.stream, None).await?;
            let shard = all.iter().find(|shard| shard.shard_id() == args.shard);
            let range = shard.and_then(|shard| {
                let (start, end) = keys(shard);
                Some((start.parse::<u128>().ok()?, end.parse::<u128>().ok()?))
            });
            let (start, end) = range
                .ok_or_else(|| format!("stream {} has no shard {}", args.stream, args.shard))?;
            start + (end - start) / 2 + 1
        }
    };
    let request = client.split_shard().stream_name(&args.stream).shard_to_split(&args.shard);
    request.new_starting_hash_key(at.to_string()).send().await.map_err(told)?;
    active(client, &args.stream).await?;
    done(output, "split", &args.stream)
}

pub async fn merge(client: &Client, output: &Output, args: &Merge) -> Result<(), Failure> {
    let request = client.merge_shards().stream_name(&args.stream).shard_to_merge(&args.shard);
    request.adjacent_shard_to_merge(&args.adjacent).send().await.map_err(told)?;
    active(client, &args.stream).await?;
    done(output, "merged", &args.stream)
}

pub async fn delete(client: &Client, output: &Output, args: &Delete) -> Result<(), Failure> {
    if !args.yes {
        let arn = summary(client, &args.stream).await?.stream_arn;
        return Err(format!("would delete {arn} with all its records: give --yes to do it"));
    }
    client.delete_stream().stream_name(&args.stream).send().await.map_err(told)?;
    done(output, "deleted", &args.stream)
}
