//! The sink, and producers on it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{HashKeyRange, Moment, SequenceNumber};
use kcl_core::{Bytes, Clock, Shard, TokioClock, async_trait};
use kcl_producer::{
    Aggregation, Delivery, Fate, Outcome, Placed, Producer, ProducerOptions, PutSink, Refusal,
    SinkError, SinkLimits, SinkRecord,
};
use kcl_records::aggregate::{Decoded, decode};

/// What the sink does with one request.
pub enum Answer {
    /// Takes everything, each record in the shard of `shards` that it belongs to.
    Take,
    /// Refuses the records with these places for the rate, and takes the others.
    Refuse(Vec<usize>),
    /// Refuses all for this reason.
    RefuseAll(Refusal),
    Fail(SinkError),
    /// Takes everything, and the reply is lost.
    Lose,
    Panic,
    /// Takes everything, and leaves the last outcome out.
    Short,
    /// Does not answer.
    Hang,
}

pub struct Sink {
    pub clock: TokioClock,
    pub answers: Mutex<VecDeque<Answer>>,
    /// The open shards, and the listing if that is another one.
    pub shards: Mutex<Vec<Shard>>,
    pub listing: Mutex<Option<Vec<Shard>>>,
    /// Whether the shards can be listed.
    pub is_listed: AtomicBool,
    pub limits: Mutex<SinkLimits>,
    pub requests: Mutex<Vec<Vec<SinkRecord>>>,
    /// When each request came.
    pub asked_at: Mutex<Vec<Moment>>,
    /// Requests with this text are refused for it.
    pub wrong: Mutex<Option<&'static str>>,
}

pub fn shard(id: &str, start: u128, end: u128) -> Shard {
    let range = HashKeyRange { start, end };
    Shard { id: id.into(), parents: Default::default(), range, is_open: true, tip: None }
}

pub fn halves() -> Vec<Shard> {
    vec![shard("left", 0, MIDDLE - 1), shard("right", MIDDLE, u128::MAX)]
}

pub const MIDDLE: u128 = 1 << 127;

impl Sink {
    /// With one shard.
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Self {
            clock: TokioClock::starting_at(0),
            answers: Mutex::new(answers.into_iter().collect()),
            shards: Mutex::new(vec![shard("whole", 0, u128::MAX)]),
            listing: Mutex::default(),
            is_listed: AtomicBool::new(true),
            limits: Mutex::default(),
            requests: Mutex::default(),
            asked_at: Mutex::default(),
            wrong: Mutex::default(),
        })
    }
    fn place(&self, record: &SinkRecord) -> Placed {
        let shards = self.shards.lock().unwrap();
        let shard = shards.iter().find(|shard| shard.range.contains(record.hash_key)).unwrap();
        Placed { shard: shard.id.clone(), sequence: SequenceNumber::ZERO }
    }
    pub fn reshard(&self, shards: Vec<Shard>) {
        *self.shards.lock().unwrap() = shards;
    }
    /// The data of each request so far, aggregates taken apart.
    pub fn put(&self) -> Vec<Vec<String>> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|records| records.iter().flat_map(texts).collect()).collect()
    }
}

fn texts(record: &SinkRecord) -> Vec<String> {
    let text = |data: &Bytes| String::from_utf8_lossy(data).into_owned();
    match decode(&record.data) {
        Decoded::Plain => vec![text(&record.data)],
        Decoded::Records(inside) => inside.iter().map(|inner| text(&inner.data)).collect(),
        Decoded::Broken(broken) => panic!("{broken}"),
    }
}

#[async_trait]
impl PutSink for Sink {
    fn limits(&self) -> SinkLimits {
        *self.limits.lock().unwrap()
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SinkError> {
        if !self.is_listed.load(Ordering::SeqCst) {
            return Err(SinkError::Never("no permission to list".into()));
        }
        let listing = self.listing.lock().unwrap().clone();
        Ok(listing.unwrap_or_else(|| self.shards.lock().unwrap().clone()))
    }
    async fn put_records(&self, records: Vec<SinkRecord>) -> Result<Vec<Outcome>, SinkError> {
        self.requests.lock().unwrap().push(records.clone());
        self.asked_at.lock().unwrap().push(self.clock.monotonic());
        let wrong = *self.wrong.lock().unwrap();
        if wrong.is_some_and(|wrong| records.iter().flat_map(texts).any(|text| text == wrong)) {
            return Err(SinkError::Invalid("a record is too large".into()));
        }
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Take);
        let taken = records.iter().map(|record| Ok(self.place(record)));
        match answer {
            Answer::Take => Ok(taken.collect()),
            Answer::Short => Ok(taken.skip(1).collect()),
            Answer::Refuse(places) => {
                let refused = |at: usize| places.contains(&at);
                let throttled = || Err(Refusal::Throttled("too fast".into()));
                let outcomes = taken.enumerate();
                Ok(outcomes.map(|(at, ok)| if refused(at) { throttled() } else { ok }).collect())
            }
            Answer::RefuseAll(refusal) => Ok(taken.map(|_| Err(refusal.clone())).collect()),
            Answer::Fail(error) => Err(error),
            Answer::Lose => Err(SinkError::Unknown("the reply was lost".into())),
            Answer::Panic => panic!("a sink that panics, on purpose"),
            Answer::Hang => std::future::pending().await,
        }
    }
}

/// A producer on the clock of the sink; its jitter is the same each time unless the options say
/// otherwise.
pub fn start(sink: &Arc<Sink>, options: ProducerOptions) -> Producer {
    let clock = Arc::new(sink.clock);
    let sink: Arc<dyn PutSink> = sink.clone();
    let seed = Some(options.seed.unwrap_or(1));
    Producer::builder(sink).options(ProducerOptions { seed, ..options }).clock(clock).start()
}

pub fn options() -> ProducerOptions {
    ProducerOptions::default()
}

pub fn aggregating() -> ProducerOptions {
    ProducerOptions { aggregation: Aggregation::KPL, ..options() }
}

pub async fn put(producer: &Producer, texts: &[&str]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for text in texts {
        // The key is what stands before the number.
        let key = text.trim_end_matches(|c: char| c.is_ascii_digit());
        deliveries.push(producer.put(key, text.as_bytes().to_vec()).await.unwrap());
    }
    deliveries
}

/// The fates of records, which come within minutes of the paused clock.
pub async fn fates(deliveries: Vec<Delivery>) -> Vec<Fate> {
    let told = async {
        let mut fates = Vec::new();
        for delivery in deliveries {
            fates.push(delivery.await);
        }
        fates
    };
    tokio::time::timeout(Duration::from_secs(600), told).await.expect("each has a fate")
}
