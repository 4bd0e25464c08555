//! A producer and a sink that answers as a test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{HashKeyRange, SequenceNumber, ShardId};
use kcl_core::{Bytes, Clock, Shard, TokioClock, async_trait};
use kcl_producer::{
    Aggregation, Copies, Delivery, LostReply, Misplaced, NewRecord, NotAccepted, Outcome, Placed,
    Producer, ProducerOptions, PutFailure, PutSink, Refusal, Shutdown, SinkError, SinkRecord,
    hash_key,
};
use kcl_records::aggregate::{Decoded, decode};

/// What the sink does with one request.
enum Answer {
    /// Takes everything, each record in the shard of `shards` that it belongs to.
    Take,
    /// Refuses the records with these places, and takes the others.
    Refuse(Vec<usize>),
    Fail(SinkError),
    /// Takes everything, and the reply is lost.
    Lose,
    Panic,
    /// Does not answer.
    Hang,
}

#[derive(Default)]
struct Sink {
    answers: Mutex<VecDeque<Answer>>,
    /// The open shards, and the listing if that is another one.
    shards: Mutex<Vec<Shard>>,
    listing: Mutex<Option<Vec<Shard>>>,
    requests: Mutex<Vec<Vec<SinkRecord>>>,
    /// Requests with this text are refused for it.
    wrong: Mutex<Option<&'static str>>,
}

fn shard(id: &str, start: u128, end: u128) -> Shard {
    let range = HashKeyRange { start, end };
    Shard { id: id.into(), parents: Default::default(), range, is_open: true, tip: None }
}

fn halves() -> Vec<Shard> {
    vec![shard("left", 0, MIDDLE - 1), shard("right", MIDDLE, u128::MAX)]
}

const MIDDLE: u128 = 1 << 127;

impl Sink {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        let sink = Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() };
        *sink.shards.lock().unwrap() = vec![shard("whole", 0, u128::MAX)];
        Arc::new(sink)
    }
    fn place(&self, record: &SinkRecord) -> Placed {
        let shards = self.shards.lock().unwrap();
        let shard = shards.iter().find(|shard| shard.range.contains(record.hash_key)).unwrap();
        Placed { shard: shard.id.clone(), sequence: SequenceNumber::ZERO }
    }
    fn reshard(&self, shards: Vec<Shard>) {
        *self.shards.lock().unwrap() = shards;
    }
    /// The data of each request so far, aggregates taken apart.
    fn put(&self) -> Vec<Vec<String>> {
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
    async fn list_shards(&self) -> Result<Vec<Shard>, SinkError> {
        let listing = self.listing.lock().unwrap().clone();
        Ok(listing.unwrap_or_else(|| self.shards.lock().unwrap().clone()))
    }
    async fn put_records(&self, records: Vec<SinkRecord>) -> Result<Vec<Outcome>, SinkError> {
        self.requests.lock().unwrap().push(records.clone());
        let wrong = *self.wrong.lock().unwrap();
        if wrong.is_some_and(|wrong| records.iter().flat_map(texts).any(|text| text == wrong)) {
            return Err(SinkError::Invalid("a record is too large".into()));
        }
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Take);
        let taken = records.iter().map(|record| Ok(self.place(record)));
        match answer {
            Answer::Take => Ok(taken.collect()),
            Answer::Refuse(places) => {
                let refused = |at: usize| places.contains(&at);
                let throttled = || Err(Refusal::Throttled("too fast".into()));
                let outcomes = taken.enumerate();
                Ok(outcomes.map(|(at, ok)| if refused(at) { throttled() } else { ok }).collect())
            }
            Answer::Fail(error) => Err(error),
            Answer::Lose => Err(SinkError::Unknown("the reply was lost".into())),
            Answer::Panic => panic!("a sink that panics, on purpose"),
            Answer::Hang => std::future::pending().await,
        }
    }
}

fn start(sink: &Arc<Sink>, options: ProducerOptions) -> Producer {
    let sink: Arc<dyn PutSink> = sink.clone();
    let clock = Arc::new(TokioClock::starting_at(0));
    Producer::builder(sink)
        .options(ProducerOptions { seed: Some(1), ..options })
        .clock(clock)
        .start()
}

fn options() -> ProducerOptions {
    ProducerOptions::default()
}

fn aggregating() -> ProducerOptions {
    ProducerOptions { aggregation: Aggregation::KPL, ..options() }
}

async fn put(producer: &Producer, texts: &[&str]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for text in texts {
        // The key is what stands before the number.
        let key = text.trim_end_matches(|c: char| c.is_ascii_digit());
        deliveries.push(producer.put(key, text.as_bytes().to_vec()).await.unwrap());
    }
    deliveries
}

#[tokio::test(start_paused = true)]
async fn records_share_a_request_after_lingering_or_when_it_is_full() {
    let sink = Sink::new([]);
    let clock = TokioClock::starting_at(0);
    let producer = start(&sink, ProducerOptions { batch_records: 3, ..options() });
    for delivery in put(&producer, &["a1", "b1", "c1", "d1"]).await {
        delivery.await.unwrap();
    }
    assert_eq!(sink.put(), [vec!["a1", "b1", "c1"], vec!["d1"]]);
    assert_eq!(clock.wall_millis(), 50, "the last one lingered");
    let delivery = put(&producer, &["e1"]).await.remove(0);
    producer.flush().await;
    assert_eq!(clock.wall_millis(), 50, "a flush does not linger");
    assert_eq!(delivery.await.unwrap().attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_has_one_record_under_way_and_an_aggregate_counts_as_one() {
    let sink = Sink::new([Answer::Refuse(vec![0])]);
    let producer = start(&sink, options());
    let deliveries = put(&producer, &["a1", "a2", "b1", "a3"]).await;
    producer.flush().await;
    assert_eq!(sink.put(), [vec!["a1", "b1"], vec!["a1"], vec!["a2"], vec!["a3"]]);
    let mut attempts = Vec::new();
    for delivery in deliveries {
        attempts.push(delivery.await.unwrap().attempts);
    }
    assert_eq!(attempts, [2, 1, 1, 1]);
    let sink = Sink::new([Answer::Refuse(vec![0])]);
    let producer = start(&sink, aggregating());
    put(&producer, &["a1", "a2", "b1", "a3"]).await;
    producer.flush().await;
    let all = ["a1", "a2", "a3", "b1"];
    assert_eq!(sink.put(), [all.to_vec(), all.to_vec()]);
}

#[tokio::test(start_paused = true)]
async fn data_that_looks_like_an_aggregate_comes_out_as_it_went_in() {
    let sink = Sink::new([]);
    let producer = start(&sink, aggregating());
    let forged = Bytes::from_static(b"\xf3\x89\x9a\xc2 not really");
    producer.put("key", forged.clone()).await.unwrap().await.unwrap();
    let record = sink.requests.lock().unwrap()[0][0].clone();
    let Decoded::Records(inside) = decode(&record.data) else { panic!("it is wrapped") };
    assert_eq!((inside.len(), &inside[0].data), (1, &forged));
    producer.put("key", "plain").await.unwrap().await.unwrap();
    assert_eq!(sink.requests.lock().unwrap()[1][0].data, "plain", "alone it is not wrapped");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_told_or_the_record_is_put_again_and_may_be_there_twice() {
    let sink = Sink::new([Answer::Lose]);
    let producer = start(&sink, options());
    let receipt = producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
    assert_eq!((receipt.attempts, receipt.copies), (2, Copies::OneOrMore));
    assert_eq!(producer.metrics().lost_replies, 1);

    let sink = Sink::new([Answer::Lose]);
    let producer = start(&sink, ProducerOptions { lost_reply: LostReply::Report, ..options() });
    let failure = producer.put("k", "x").await.unwrap().await.unwrap_err();
    assert!(matches!(failure, PutFailure::Unknown { attempts: 1, .. }), "{failure:?}");

    // What a lost reply left behind is not denied by what follows.
    let never = || Answer::Fail(SinkError::Never("no such stream".into()));
    let sink = Sink::new([Answer::Lose, never(), never()]);
    let producer = start(&sink, options());
    let failure = producer.put("k", "x").await.unwrap().await.unwrap_err();
    assert!(failure.may_be_in_stream(), "{failure:?}");
    let failure = producer.put("k", "x").await.unwrap().await.unwrap_err();
    assert!(matches!(failure, PutFailure::StreamRefuses { .. }), "{failure:?}");
    assert_eq!(producer.last_failure(), Some(failure));
}

/// What becomes of four records, of which the stream takes no request with the third.
async fn one_is_wrong(options: ProducerOptions) {
    let sink = Sink::new([]);
    *sink.wrong.lock().unwrap() = Some("c1");
    let producer = start(&sink, options);
    let mut fates = Vec::new();
    for delivery in put(&producer, &["a1", "b1", "c1", "d1"]).await {
        fates.push(delivery.await);
    }
    let mut alone = sink.put().split_off(1);
    alone.sort_unstable();
    assert_eq!(alone, [["a1"], ["b1"], ["c1"], ["d1"]]);
    let why = "a record is too large".to_owned();
    let refused = fates.remove(2).unwrap_err();
    assert_eq!(refused, PutFailure::Refused { why, attempts: 2 });
    for fate in fates {
        let receipt = fate.unwrap();
        assert_eq!((receipt.attempts, receipt.copies), (2, Copies::One));
    }
    producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_a_request_refused_for_a_record_in_it_that_record_alone_is_refused() {
    one_is_wrong(options()).await;
}

#[tokio::test(start_paused = true)]
async fn of_an_aggregate_refused_for_a_record_in_it_that_record_alone_is_refused() {
    one_is_wrong(aggregating()).await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_or_answers_for_too_few_leaves_the_outcome_unknown() {
    let sink = Sink::new([Answer::Panic]);
    let producer = start(&sink, ProducerOptions { lost_reply: LostReply::Report, ..options() });
    let failure = producer.put("k", "x").await.unwrap().await.unwrap_err();
    assert!(failure.to_string().contains("the sink panicked"), "{failure}");
    producer.put_and_wait(NewRecord::new("k", "y")).await.unwrap();
}

/// Two keys of the two halves.
fn keys() -> (String, String) {
    let find = |is_left: bool| {
        let mut keys = (0..).map(|number| format!("key-{number}-"));
        keys.find(|key| (hash_key(key) < MIDDLE) == is_left).unwrap()
    };
    (find(true), find(false))
}

async fn reshard_under_an_aggregate(
    misplaced: Misplaced,
    is_listed: bool,
) -> (Vec<usize>, Vec<(ShardId, Copies)>, Vec<usize>) {
    let sink = Sink::new([]);
    let whole = sink.shards.lock().unwrap().clone();
    let producer = start(&sink, ProducerOptions { misplaced, ..aggregating() });
    producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
    sink.requests.lock().unwrap().clear();
    sink.reshard(halves());
    if !is_listed {
        *sink.listing.lock().unwrap() = Some(whole);
    }
    let (left, right) = keys();
    let texts = [format!("{left}1"), format!("{right}1"), format!("{left}2"), format!("{right}2")];
    let deliveries = put(&producer, &texts.each_ref().map(String::as_str)).await;
    let mut receipts = Vec::new();
    for delivery in deliveries {
        let receipt = delivery.await.unwrap();
        receipts.push((receipt.shard, receipt.copies));
    }
    assert_eq!(producer.metrics().misplaced_aggregates, 1);
    let requests = sink.requests.lock().unwrap();
    let records = requests.iter().map(Vec::len).collect();
    let inside = sink.put_of(&requests);
    (records, receipts, inside)
}

impl Sink {
    fn put_of(&self, requests: &[Vec<SinkRecord>]) -> Vec<usize> {
        requests.iter().map(|records| records.iter().flat_map(texts).count()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn of_an_aggregate_in_another_shard_what_readers_would_drop_is_put_again() {
    let (left, right) = (ShardId::from("left"), ShardId::from("right"));
    let twice = |shard: &ShardId| (shard.clone(), Copies::OneOrMore);
    let once = |shard: &ShardId| (shard.clone(), Copies::One);
    // All of it, in one aggregate for each half.
    let (records, receipts, inside) = reshard_under_an_aggregate(Misplaced::All, true).await;
    assert_eq!((records, inside), (vec![1, 2], vec![4, 4]));
    assert_eq!(receipts, [twice(&left), twice(&right), twice(&left), twice(&right)]);
    // Only what does not belong: the aggregate came where its first record belongs.
    let (records, receipts, inside) = reshard_under_an_aggregate(Misplaced::Foreign, true).await;
    assert_eq!((records, inside), (vec![1, 1], vec![4, 2]));
    assert_eq!(receipts, [once(&left), twice(&right), once(&left), twice(&right)]);
    // A listing that does not know the shard: each by itself, one of a key at a time.
    let (records, receipts, inside) = reshard_under_an_aggregate(Misplaced::Foreign, false).await;
    assert_eq!((records, inside), (vec![1, 2, 2], vec![4, 2, 2]));
    assert_eq!(receipts, [twice(&left), twice(&right), twice(&left), twice(&right)]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_comes_to_its_deadline_tells_every_fate() {
    let sink = Sink::new([Answer::Hang]);
    let options = ProducerOptions { requests: 1, ..options() };
    let producer = start(&sink, options);
    let deliveries = put(&producer, &["a1", "a2", "b1"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ended = producer.shutdown(Duration::from_secs(3)).await;
    assert_eq!(ended, Shutdown::DeadlineReached { never_put: 1, unknown: 2 });
    let mut in_stream = Vec::new();
    for delivery in deliveries {
        in_stream.push(delivery.await.unwrap_err().may_be_in_stream());
    }
    assert_eq!(in_stream, [true, false, true]);
    assert_eq!(producer.put("k", "x").await.unwrap_err(), NotAccepted::Closed);
    assert_eq!(producer.try_put(NewRecord::new("k", "x")).unwrap_err(), NotAccepted::Closed);
    assert_eq!(producer.shutdown(Duration::ZERO).await, ended, "as the first one ended");
    producer.flush().await;
    assert_eq!(producer.metrics().waiting_records, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_producer_makes_put_wait_and_try_put_refuse() {
    let sink = Sink::new([Answer::Hang]);
    let options = ProducerOptions { memory_bytes: 1000, ..options() };
    let producer = start(&sink, options);
    let record = || NewRecord::new("k", vec![0; 300]);
    producer.try_put(record()).unwrap();
    assert_eq!(producer.try_put(record()).unwrap_err(), NotAccepted::Full);
    let waiting = tokio::time::timeout(Duration::from_secs(5), producer.put_record(record())).await;
    assert!(waiting.is_err(), "there is no room");
    assert!(producer.put("", "x").await.is_err(), "a wrong record is told at once");
    let ended = producer.shutdown(Duration::ZERO).await;
    assert_eq!(ended, Shutdown::DeadlineReached { never_put: 0, unknown: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_dropped_producer_still_puts_what_it_took_in() {
    let sink = Sink::new([Answer::Fail(SinkError::NotNow("busy".into()))]);
    let producer = start(&sink, options());
    let deliveries = put(&producer, &["a1", "a2"]).await;
    drop(producer);
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(sink.put(), [vec!["a1"], vec!["a1"], vec!["a2"]]);
}

#[test]
fn a_runtime_that_ends_leaves_no_delivery_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let sink = Sink::new([Answer::Hang]);
    let mut deliveries = runtime.block_on(async {
        let producer = start(&sink, options());
        put(&producer, &["a1"]).await
    });
    let delivery = deliveries.remove(0);
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(other.block_on(delivery), Err(PutFailure::Stopped));
}
