//! `kcl serve --data` is killed at random moments under puts, reads and reshards, and started
//! again: nothing acknowledged and nothing once read is lost, and order is kept. Its files are
//! small, so that it steps from one to the next some times between two kills.
//!
//! 20 kills; more: `KCL_KILLS=200 cargo test --release -p kcl-cli --test crashes`.

mod ledger;
mod server;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use kcl_core::protocol::hash::mix;
use kcl_core::{Clock, SystemClock};

use ledger::Ledger;
use server::{STREAM, Server};

/// Writers at once.
const WRITERS: u64 = 4;
/// Puts of one writer between two kills, so that reading back stays short.
const PUTS: u64 = 40;

/// Random numbers of a seed.
struct Rolls(u64);

impl Rolls {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_any_moment_lose_nothing_acknowledged_and_keep_order() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let kills: u64 = number("KCL_KILLS").unwrap_or(20);
    let seed: u64 = number("KCL_KILL_SEED").unwrap_or(7);
    eprintln!("KCL_KILLS={kills} KCL_KILL_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::default());
    let next = Arc::new(AtomicU64::new(0));
    let (mut rolls, mut starts) = (Rolls(seed << 32), 1);
    for round in 0..kills {
        if rolls.below(5) == 0 {
            // Killed while it reads its folder.
            starts += 1;
            let starting = Server::spawn(folder.path());
            SystemClock.sleep(Duration::from_millis(rolls.below(30))).await;
            starting.kill();
        }
        starts += 1;
        let mut server = Server::spawn(folder.path());
        let client = server.client().await;
        ledger.compare(&client).await;
        let mut tasks: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let put = put(client.clone(), writer, Arc::clone(&next), Arc::clone(&ledger));
                tokio::spawn(put)
            })
            .collect();
        tasks.push(tokio::spawn(read(client.clone(), Arc::clone(&ledger))));
        if round % 3 == 1 {
            let (delay, roll) = (rolls.below(40), rolls.below(u64::MAX));
            tasks.push(tokio::spawn(reshard(client.clone(), delay, roll, Arc::clone(&ledger))));
        }
        SystemClock.sleep(Duration::from_millis(rolls.below(120))).await;
        server.kill();
        for task in tasks {
            task.await.unwrap();
        }
    }
    let mut server = Server::spawn(folder.path());
    let client = server.client().await;
    ledger.compare(&client).await;
    eprintln!("{}", ledger.summary());
    assert!(ledger.acknowledged() >= kills * 3, "hardly anything was put: {}", ledger.summary());
    server.kill();
    let files = files(folder.path());
    eprintln!("{files} files of records");
    // A start begins one file at most.
    assert!(files >= starts + kills / 4, "hardly a step to a next file: {files}, {starts} starts");
}

/// Files of records in the folder.
fn files(folder: &Path) -> u64 {
    let streams = std::fs::read_dir(folder.join("streams")).unwrap();
    let files = streams.flat_map(|stream| std::fs::read_dir(stream.unwrap().path()).unwrap());
    files.filter(|file| file.as_ref().unwrap().path().extension() == Some("seg".as_ref())).count()
        as u64
}

/// Puts numbers, one put after the other, until the server is gone.
async fn put(client: Client, writer: u64, next: Arc<AtomicU64>, ledger: Arc<Ledger>) {
    for step in 0..PUTS {
        let count = 1 + mix(step * WRITERS + writer) % 12;
        let first = next.fetch_add(count, Ordering::Relaxed);
        let texts: Vec<_> = (first..first + count).map(|n| format!("{writer}:{n}")).collect();
        if step % 5 == 0 {
            let text = &texts[0];
            let put = client.put_record().stream_name(STREAM).partition_key(text);
            let Ok(done) = put.data(Blob::new(text.as_bytes())).send().await else { return };
            ledger.note(done.shard_id(), done.sequence_number(), text);
            continue;
        }
        let entries = texts.iter().map(|text| {
            let entry = PutRecordsRequestEntry::builder().partition_key(text);
            entry.data(Blob::new(text.as_bytes())).build().unwrap()
        });
        let put = client.put_records().stream_name(STREAM);
        let Ok(done) = put.set_records(Some(entries.collect())).send().await else { return };
        for (text, result) in texts.iter().zip(done.records()) {
            // One that was refused has no number.
            if let (Some(shard), Some(number)) = (result.shard_id(), result.sequence_number()) {
                ledger.note(shard, number, text);
            }
        }
    }
}

/// Reads one shard from its front until the server is gone: what was read must stay.
async fn read(client: Client, ledger: Arc<Ledger>) {
    let Ok(listed) = client.list_shards().stream_name(STREAM).send().await else { return };
    let Some(shard) = listed.shards().last() else { return };
    let from = client.get_shard_iterator().stream_name(STREAM).shard_id(shard.shard_id());
    let from = from.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await;
    let mut next = from.ok().and_then(|from| from.shard_iterator);
    while let Some(iterator) = next {
        let got = client.get_records().shard_iterator(iterator).limit(100).send().await;
        let Ok(got) = got else { return };
        for record in got.records() {
            let text = String::from_utf8(record.data().as_ref().to_vec()).unwrap();
            ledger.note(shard.shard_id(), record.sequence_number(), &text);
        }
        next = got.next_shard_iterator;
    }
}

/// Splits a shard, or merges two. What was acknowledged stays so.
async fn reshard(client: Client, delay_millis: u64, roll: u64, ledger: Arc<Ledger>) {
    SystemClock.sleep(Duration::from_millis(delay_millis)).await;
    let Ok(listed) = client.list_shards().stream_name(STREAM).send().await else { return };
    let mut open: Vec<_> = listed
        .shards()
        .iter()
        .filter_map(|shard| {
            let sequences = shard.sequence_number_range()?;
            let range = shard.hash_key_range()?;
            let keys: (u128, u128) =
                (range.starting_hash_key().parse().ok()?, range.ending_hash_key().parse().ok()?);
            let is_open = sequences.ending_sequence_number().is_none();
            is_open.then(|| (keys, shard.shard_id().to_owned()))
        })
        .collect();
    open.sort();
    if open.len() < 5 {
        let ((start, end), shard) = &open[roll as usize % open.len()];
        let middle = (start + (end - start) / 2 + 1).to_string();
        let split = client.split_shard().stream_name(STREAM).shard_to_split(shard);
        if split.new_starting_hash_key(middle).send().await.is_ok() {
            ledger.closed(shard);
        }
    } else {
        let at = roll as usize % (open.len() - 1);
        let (one, other) = (&open[at].1, &open[at + 1].1);
        let merge = client.merge_shards().stream_name(STREAM).shard_to_merge(one);
        if merge.adjacent_shard_to_merge(other).send().await.is_ok() {
            ledger.closed(one);
            ledger.closed(other);
        }
    }
}
