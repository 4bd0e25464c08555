//! What is measured.

use std::time::Duration;

use kcl_core::protocol::Moment;
use kcl_core::{Clock, SystemClock};

use super::wire::{Connection, Encoding, Failure, put_records, request};

/// The server under load.
pub struct Server {
    pub address: String,
    pub pid: u32,
}

fn now() -> Moment {
    SystemClock.monotonic()
}

fn since(moment: Moment) -> Duration {
    now().since(moment)
}

pub type Told = Vec<(String, String)>;

const RECORDS: usize = 500;
const BYTES: usize = 100;
const SHARDS: usize = 8;
/// Bytes at the beginning of an answer in which the count of what failed is looked for first.
const HEAD: usize = 256;
/// How long each load lasts.
const LASTS: Duration = Duration::from_secs(5);
/// Connections of the load by PutRecords: enough to keep two cores busy.
const PUTTERS: usize = 4;

impl Server {
    /// Time of processors used so far.
    fn used(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        let fields: Vec<&str> = after_name.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        // Linux counts in hundredths of a second.
        Ok(Duration::from_millis(ticks * 10))
    }

    fn resident_bytes(&self, field: &str) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no memory")?;
        let kib = line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB");
        Ok(kib.trim().parse::<u64>()? << 10)
    }

    fn stream(&self, name: &str, shards: usize) -> Result<(), Failure> {
        let mut connection = Connection::open(&self.address)?;
        let body = format!(r#"{{"StreamName":"{name}","ShardCount":{shards}}}"#);
        connection.json("CreateStream", &body)?;
        let name = format!(r#"{{"StreamName":"{name}"}}"#);
        loop {
            let told = connection.json("DescribeStreamSummary", &name)?;
            if told["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE" {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Everything but memory and the durable load.
pub fn all(server: &Server) -> Result<Told, Failure> {
    let mut told = Told::new();
    for encoding in [Encoding::Json, Encoding::Cbor] {
        let name = format!("many-{encoding:?}");
        server.stream(&name, SHARDS)?;
        let (rate, cost) = put_many(server, &name, encoding, PUTTERS)?;
        told.push((format!("PutRecords {encoding:?}, records/s"), format!("{rate:.0}")));
        told.push((
            format!("PutRecords {encoding:?}, server CPU us a record"),
            format!("{cost:.2}"),
        ));
    }
    server.stream("one", SHARDS)?;
    let mut times = put_one(server, "one", 16)?;
    told.push((
        "PutRecord at 16 connections, calls/s".into(),
        format!("{}", times.len() as u64 / LASTS.as_secs()),
    ));
    told.push(("PutRecord at 16 connections, p50".into(), percentile(&mut times, 0.5)));
    told.push(("PutRecord at 16 connections, p99".into(), percentile(&mut times, 0.99)));
    server.stream("drained", 1)?;
    let (rate, cost) = drain(server, "drained")?;
    told.push(("GetRecords drain, records/s".into(), format!("{rate:.0}")));
    told.push(("GetRecords drain, server CPU us a record".into(), format!("{cost:.2}")));
    server.stream("pushed", 1)?;
    let mut times = push(server, "pushed")?;
    told.push(("put to fan-out, p50".into(), percentile(&mut times, 0.5)));
    told.push(("put to fan-out, p99".into(), percentile(&mut times, 0.99)));
    Ok(told)
}

/// Durable puts want many connections: those that wait share a sync.
pub fn durable(server: &Server) -> Result<Told, Failure> {
    server.stream("durable", SHARDS)?;
    let (rate, cost) = put_many(server, "durable", Encoding::Json, 16)?;
    let mut told = Told::new();
    told.push(("PutRecords Json at 16 connections, records/s".into(), format!("{rate:.0}")));
    told.push(("PutRecords Json, server CPU us a record".into(), format!("{cost:.2}")));
    Ok(told)
}

/// Resident memory with a million records, and what was put.
pub fn memory(server: &Server) -> Result<Told, Failure> {
    const MANY: usize = 1_000_000;
    server.stream("kept", SHARDS)?;
    let before = server.resident_bytes("VmRSS")?;
    let mut connection = Connection::open(&server.address)?;
    for first in (0..MANY).step_by(RECORDS) {
        let put = put_records("kept", Encoding::Json, RECORDS, BYTES, first % 1_000_000);
        all_taken(Encoding::Json, &connection.call(&put)?)?;
    }
    let put = (MANY * (BYTES + "key-000000".len())) as f64;
    let mib = |bytes: f64| format!("{:.1}", bytes / f64::from(1 << 20));
    let after = server.resident_bytes("VmRSS")?;
    let peak = server.resident_bytes("VmHWM")?;
    Ok(vec![
        ("resident before, MiB".into(), mib(before as f64)),
        ("resident with 1,000,000 records, MiB".into(), mib(after as f64)),
        ("peak, MiB".into(), mib(peak as f64)),
        ("bytes put, MiB".into(), mib(put)),
        ("resident over put".into(), format!("{:.2}", after as f64 / put)),
    ])
}

/// Records a second, and the server's microseconds for each.
fn put_many(
    server: &Server,
    stream: &str,
    encoding: Encoding,
    connections: usize,
) -> Result<(f64, f64), Failure> {
    let (used, started) = (server.used()?, now());
    let put = |number: usize| -> Result<usize, Failure> {
        let requests: Vec<_> = (0..20)
            .map(|n| put_records(stream, encoding, RECORDS, BYTES, (number * 20 + n) * RECORDS))
            .collect();
        let mut connection = Connection::open(&server.address)?;
        let mut calls = 0;
        while since(started) < LASTS {
            let answer = connection.call(&requests[calls % requests.len()])?;
            all_taken(encoding, &answer)?;
            calls += 1;
        }
        Ok(calls * RECORDS)
    };
    let records = everybody(connections, put)?.into_iter().sum::<usize>() as f64;
    let (took, used) = (since(started), server.used()? - used);
    Ok((records / took.as_secs_f64(), used.as_secs_f64() * 1e6 / records))
}

/// Fails unless every record of a PutRecords was taken: those that were refused come in an answer
/// of status 200 too. Searched for as bytes: to parse it would cost more than the server.
fn all_taken(encoding: Encoding, answer: &[u8]) -> Result<(), Failure> {
    const COUNT: &[u8] = b"FailedRecordCount";
    let find = |bytes: &[u8]| bytes.windows(COUNT.len()).position(|window| window == COUNT);
    let head = &answer[..answer.len().min(HEAD)];
    let at = find(head).or_else(|| find(answer)).ok_or("an answer does not tell what failed")?;
    let count = &answer[at + COUNT.len()..];
    let is_none = match encoding {
        Encoding::Json => count.starts_with(b"\":0,") || count.starts_with(b"\":0}"),
        Encoding::Cbor => count.starts_with(&[0]),
    };
    if is_none { Ok(()) } else { Err("the server refused records: has its stream room?".into()) }
}

fn everybody<T: Send>(
    count: usize,
    run: impl Fn(usize) -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    std::thread::scope(|scope| {
        let run = &run;
        let all: Vec<_> = (0..count).map(|number| scope.spawn(move || run(number))).collect();
        let ended = all.into_iter().map(|one| one.join());
        ended.map(|one| one.map_err(|_| "a thread broke off")?).collect()
    })
}

fn put_one(server: &Server, stream: &str, connections: usize) -> Result<Vec<Duration>, Failure> {
    let started = now();
    let times = everybody(connections, |number| {
        let data = "eHh4".repeat(33);
        let body =
            format!(r#"{{"StreamName":"{stream}","Data":"{data}","PartitionKey":"key-{number}"}}"#);
        let request = request("PutRecord", Encoding::Json, body.as_bytes());
        let mut connection = Connection::open(&server.address)?;
        let mut times = Vec::new();
        while since(started) < LASTS {
            let begun = now();
            connection.call(&request)?;
            times.push(since(begun));
        }
        Ok(times)
    })?;
    Ok(times.into_iter().flatten().collect())
}

/// 200,000 records of one shard, read with the largest calls.
fn drain(server: &Server, stream: &str) -> Result<(f64, f64), Failure> {
    const MANY: usize = 200_000;
    let mut connection = Connection::open(&server.address)?;
    for first in (0..MANY).step_by(RECORDS) {
        let put = put_records(stream, Encoding::Json, RECORDS, BYTES, first);
        all_taken(Encoding::Json, &connection.call(&put)?)?;
    }
    let place = r#""ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON""#;
    let body = format!(r#"{{"StreamName":"{stream}",{place}}}"#);
    let told = connection.json("GetShardIterator", &body)?;
    let mut iterator = told["ShardIterator"].as_str().ok_or("no iterator")?.to_owned();
    let (used, started) = (server.used()?, now());
    let mut records = 0;
    while records < MANY {
        let body = format!(r#"{{"ShardIterator":"{iterator}","Limit":10000}}"#);
        let got = connection.call(&request("GetRecords", Encoding::Json, body.as_bytes()))?;
        // Counted and searched as text: to parse it would cost more than the server.
        let text = std::str::from_utf8(&got)?;
        let count = text.matches("\"SequenceNumber\"").count();
        let next = text.split("\"NextShardIterator\":\"").nth(1).ok_or("no next iterator")?;
        iterator = next.split('"').next().unwrap_or_default().to_owned();
        records += count;
        if count == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let (took, used) = (since(started), server.used()? - used);
    Ok((records as f64 / took.as_secs_f64(), used.as_secs_f64() * 1e6 / records as f64))
}

/// From a put's beginning to its record at a subscriber.
fn push(server: &Server, stream: &str) -> Result<Vec<Duration>, Failure> {
    const PUTS: usize = 300;
    let mut admin = Connection::open(&server.address)?;
    let name = format!(r#"{{"StreamName":"{stream}"}}"#);
    let told = admin.json("DescribeStreamSummary", &name)?;
    let arn = told["StreamDescriptionSummary"]["StreamARN"].as_str().ok_or("no arn")?.to_owned();
    let body = format!(r#"{{"StreamARN":"{arn}","ConsumerName":"load"}}"#);
    let told = admin.json("RegisterStreamConsumer", &body)?;
    let consumer = told["Consumer"]["ConsumerARN"].as_str().ok_or("no consumer")?.to_owned();
    std::thread::sleep(Duration::from_secs(2));
    let place = r#""ShardId":"shardId-000000000000","StartingPosition":{"Type":"LATEST"}"#;
    let body = format!(r#"{{"ConsumerARN":"{consumer}",{place}}}"#);
    let mut subscription = Connection::open(&server.address)?;
    subscription.begin(&request("SubscribeToShard", Encoding::Json, body.as_bytes()))?;
    let mut times = Vec::new();
    for number in 0..PUTS {
        let body =
            format!(r#"{{"StreamName":"{stream}","Data":"eHh4","PartitionKey":"mark-{number}"}}"#);
        let request = request("PutRecord", Encoding::Json, body.as_bytes());
        let mark = format!("\"mark-{number}\"");
        let begun = now();
        admin.call(&request)?;
        let mut seen = Vec::new();
        while !seen.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            seen.extend(subscription.chunk()?);
        }
        times.push(since(begun));
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(times)
}

fn percentile(times: &mut [Duration], part: f64) -> String {
    times.sort_unstable();
    let at = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
    times.get(at).map_or("none".into(), |time| format!("{:.3} ms", time.as_secs_f64() * 1e3))
}
