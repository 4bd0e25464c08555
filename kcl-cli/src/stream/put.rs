//! `kcl stream put`.

use std::io::BufRead;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use clap::Parser;
use kcl_core::{Clock, SystemClock};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Failure, told};
use crate::output::{Output, Stopped};

#[derive(Debug, Parser)]
pub struct Args {
    /// Name of the stream
    stream: String,

    /// Data of the records [default: each line of the standard input is one]
    data: Vec<String>,

    /// Partition key of all of them [default: their numbers within this call, which spreads them].
    /// Order is not kept after a throttle: what a shard refuses is put again behind what it took
    /// of the same request
    #[arg(long)]
    key: Option<String>,
}

/// Records of one call, and the bytes of their data and keys at most (Kinesis API: 500 and 10 MiB).
/// A larger batch than this is only a single record.
const RECORDS: usize = 500;
const BYTES: usize = 4 << 20;
/// Tries of one record that a throttled shard refuses, and the wait between them.
const TRIES: u32 = 60;
const WAIT: Duration = Duration::from_secs(1);
/// How long a record waits for others to be put with.
const LINGER: Duration = Duration::from_millis(200);
/// Lines that are read ahead: one may be as large as a record.
const AHEAD: usize = 4;

/// Records that are put together.
#[derive(Default)]
struct Batch {
    entries: Vec<PutRecordsRequestEntry>,
    bytes: usize,
}

impl Batch {
    /// Whether a record of so many bytes has to wait for the next call.
    fn is_full_for(&self, bytes: usize) -> bool {
        let is_over = self.entries.len() == RECORDS || self.bytes + bytes > BYTES;
        is_over && !self.entries.is_empty()
    }
    fn add(&mut self, entry: PutRecordsRequestEntry, bytes: usize) {
        self.entries.push(entry);
        self.bytes += bytes;
    }
}

pub async fn run(client: &Client, output: &Output, args: &Args) -> Result<(), Failure> {
    let (sender, mut all) = mpsc::channel(AHEAD);
    let given = args.data.clone();
    // A thread of its own: a read of the standard input cannot be broken off.
    std::thread::spawn(move || feed(given, &sender));
    let (mut batch, mut count) = (Batch::default(), 0u64);
    let mut until = SystemClock.monotonic();
    loop {
        let next = tokio::select! { biased;
            next = all.recv() => next,
            () = SystemClock.sleep_until(until), if !batch.entries.is_empty() => {
                put(client, output, &args.stream, std::mem::take(&mut batch).entries).await?;
                continue;
            }
        };
        let Some(data) = next else { break };
        let data = match data {
            Ok(data) => data,
            Err(error) => {
                put(client, output, &args.stream, batch.entries).await?;
                return Err(format!("the input: {error}"));
            }
        };
        count += 1;
        let key = args.key.clone().unwrap_or_else(|| count.to_string());
        let bytes = data.len() + key.len();
        if batch.is_full_for(bytes) {
            put(client, output, &args.stream, std::mem::take(&mut batch).entries).await?;
        }
        if batch.entries.is_empty() {
            until = SystemClock.monotonic() + LINGER;
        }
        let entry = PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data));
        batch.add(entry.build().map_err(|error| error.to_string())?, bytes);
    }
    put(client, output, &args.stream, batch.entries).await
}

/// Sends what was given, or each line of the standard input, until nobody takes it.
fn feed(given: Vec<String>, sender: &mpsc::Sender<std::io::Result<Vec<u8>>>) {
    let read = std::io::stdin().lock().split(b'\n');
    let all: Box<dyn Iterator<Item = std::io::Result<Vec<u8>>>> = match given.is_empty() {
        true => Box::new(read),
        false => Box::new(given.into_iter().map(|data| Ok(data.into_bytes()))),
    };
    for data in all {
        if sender.blocking_send(data).is_err() {
            return;
        }
    }
}

/// Puts records; those that are refused for now again, after a while. Calls that fail as a whole
/// the client repeats, and it alone: of one that was answered it repeats nothing.
async fn put(
    client: &Client,
    output: &Output,
    stream: &str,
    mut entries: Vec<PutRecordsRequestEntry>,
) -> Result<(), Failure> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut refusal = String::new();
    for _ in 0..TRIES {
        let request = client.put_records().stream_name(stream);
        let answer = request.set_records(Some(entries.clone())).send().await.map_err(told)?;
        let mut again = Vec::new();
        for (entry, result) in entries.into_iter().zip(answer.records()) {
            let (Some(shard), Some(number)) = (result.shard_id(), result.sequence_number()) else {
                refusal = result.error_message().unwrap_or("refused").to_owned();
                again.push(entry);
                continue;
            };
            let object = || json!({"shard": shard, "sequence_number": number});
            // Nobody reads the receipts: the records are put all the same.
            if let Err(Stopped::Failed(why)) = output.line(|| format!("{shard} {number}"), object) {
                return Err(why);
            }
        }
        if again.is_empty() {
            return Ok(());
        }
        entries = again;
        SystemClock.sleep(WAIT).await;
    }
    Err(format!("{} records were not put: {refusal}", entries.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of the calls in which records of these sizes are put.
    fn calls(sizes: &[usize]) -> Vec<(usize, usize)> {
        let (mut batch, mut calls) = (Batch::default(), Vec::new());
        let entry = PutRecordsRequestEntry::builder().data(Blob::new("")).build().unwrap();
        for size in sizes {
            if batch.is_full_for(*size) {
                calls.push((batch.entries.len(), batch.bytes));
                batch = Batch::default();
            }
            batch.add(entry.clone(), *size);
        }
        calls.push((batch.entries.len(), batch.bytes));
        calls
    }

    #[test]
    fn no_call_has_more_than_ten_mebibytes_or_500_records() {
        // One of ten mebibytes alone, whatever is before it.
        let large = 10 << 20;
        assert_eq!(calls(&[BYTES - 1, large, 1]), [(1, BYTES - 1), (1, large), (1, 1)]);
        assert_eq!(calls(&[BYTES, 1]), [(1, BYTES), (1, 1)]);
        assert_eq!(calls(&[1; 501]), [(500, 500), (1, 1)]);
        assert_eq!(calls(&[large]), [(1, large)]);
    }
}
