//! `kcl stream tail`, without a service.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_kinesis::config::interceptors::{
    BeforeSerializationInterceptorContextMut, FinalizerInterceptorContextMut,
};
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::operation::list_shards::{ListShardsInput, ListShardsOutput};
use aws_sdk_kinesis::primitives::Blob;
use kcl_core::protocol::Moment;
use kcl_endpoint::{Endpoint, EndpointConfig};
use kcl_stream_local::Throughput;

use super::*;

/// Looks at every answer of one kind before the client has it, and may change it.
struct Answers<T>(Box<dyn Fn(&mut T) + Send + Sync>);

impl<T> Answers<T> {
    fn seen(by: impl Fn(&mut T) + Send + Sync + 'static) -> Self {
        Self(Box::new(by))
    }
}

impl<T> fmt::Debug for Answers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

impl<T: fmt::Debug + Send + Sync + 'static> Intercept for Answers<T> {
    fn name(&self) -> &'static str {
        "Answers"
    }
    fn modify_before_attempt_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(Ok(output)) = context.output_or_error_mut()
            && let Some(output) = output.downcast_mut::<T>()
        {
            (self.0)(output);
        }
        Ok(())
    }
}

/// An endpoint with a stream of so many shards, and a client of it.
async fn served(shards: u32, config: EndpointConfig) -> (Endpoint, Client) {
    let config = EndpointConfig { streams: vec![("s".to_owned(), shards)], ..config };
    let endpoint = Endpoint::start(config).await.unwrap();
    let client = Client::new(&crate::aws::config(Some(&endpoint.url()), None).await);
    (endpoint, client)
}

fn unlimited() -> EndpointConfig {
    EndpointConfig { throughput: Throughput::Unlimited, ..EndpointConfig::default() }
}

fn with_clock(clock: &Arc<Moved>) -> EndpointConfig {
    EndpointConfig { clock: clock.clone(), ..EndpointConfig::default() }
}

#[tokio::test]
async fn children_that_the_last_page_does_not_name_are_followed_through_the_listing() {
    let (_endpoint, client) = served(1, unlimited()).await;
    let put = async |data: &str| {
        let put = client.put_record().stream_name("s").partition_key("k");
        put.data(Blob::new(data)).send().await.unwrap();
    };
    let [parent, left, right] = [0, 1, 2].map(|number| format!("shardId-{number:012}"));
    put("before the split").await;
    let split = client.split_shard().stream_name("s").shard_to_split(parent);
    split.new_starting_hash_key((1_u128 << 127).to_string()).send().await.unwrap();
    put("in a half").await;
    let merge = client.merge_shards().stream_name("s").shard_to_merge(left);
    merge.adjacent_shard_to_merge(right).send().await.unwrap();
    put("after the merge").await;
    let hidden = Arc::new(AtomicU64::new(0));
    let counted = hidden.clone();
    let names_no_children = Answers::seen(move |got: &mut GetRecordsOutput| {
        if got.child_shards.take().is_some() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let config = client.config().to_builder().interceptor(names_no_children);
    let words = ["tail", "s", "--from", "trim-horizon", "--count", "3"];
    let args = Args::parse_from(words);
    run(&Client::from_conf(config.build()), &Output::new(false), &args).await.unwrap();
    assert!(hidden.load(Ordering::Relaxed) >= 3, "the three that ended named theirs");
}

/// Lists all shards, whatever is asked for, as some engines do.
#[derive(Debug)]
struct IgnoresFilters;

impl Intercept for IgnoresFilters {
    fn name(&self) -> &'static str {
        "IgnoresFilters"
    }
    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(asked) = context.input_mut().downcast_mut::<ListShardsInput>() {
            asked.shard_filter = None;
        }
        Ok(())
    }
}

/// Changes the first listing of the shards.
fn first_listing(change: fn(&mut Vec<Shard>)) -> Answers<ListShardsOutput> {
    let later = AtomicBool::new(false);
    Answers::seen(move |listed: &mut ListShardsOutput| {
        if let Some(shards) = &mut listed.shards
            && !later.swap(true, Ordering::Relaxed)
        {
            change(shards);
        }
    })
}

/// A stream that was split 100 seconds ago, with a record from before and one from after that.
struct Split {
    clock: Arc<Moved>,
    client: Client,
    _endpoint: Endpoint,
}

impl Split {
    async fn long_ago() -> Self {
        let clock = Arc::new(Moved(AtomicU64::new(0)));
        let (_endpoint, client) = served(1, with_clock(&clock)).await;
        let stream = Self { clock, client, _endpoint };
        stream.put("before the split").await;
        let split = stream.client.split_shard().stream_name("s");
        let split = split.shard_to_split("shardId-000000000000");
        split.new_starting_hash_key((1_u128 << 127).to_string()).send().await.unwrap();
        stream.put("in a half").await;
        stream.clock.0.store(100_000, Ordering::Relaxed);
        stream
    }

    async fn put(&self, data: &str) {
        let put = self.client.put_record().stream_name("s").partition_key("k");
        put.data(Blob::new(data)).send().await.unwrap();
    }

    /// What a tail reads until it has brought a record, while records come that say "now".
    async fn read(&self, engine: impl Intercept + 'static, from: &str) -> Vec<String> {
        let read = Arc::new(Mutex::new(Vec::new()));
        let noted = read.clone();
        let notes = Answers::seen(move |got: &mut GetRecordsOutput| {
            let text = |record: &Record| String::from_utf8_lossy(record.data().as_ref()).into();
            noted.lock().unwrap().extend(got.records().iter().map(text));
        });
        let config = self.client.config().to_builder();
        let config =
            config.interceptor(IgnoresFilters).interceptor(engine).interceptor(notes).build();
        let args = Args::parse_from(["tail", "s", "--count", "1", "--from", from]);
        let (tail, output) = (Client::from_conf(config), Output::new(false));
        let puts = async {
            loop {
                self.put("now").await;
                SystemClock.sleep(POLL_EVERY).await;
            }
        };
        tokio::select! { biased;
            ended = run(&tail, &output, &args) => ended.unwrap(),
            () = puts => unreachable!(),
        }
        let read = read.lock().unwrap();
        read.clone()
    }
}

#[tokio::test]
async fn at_latest_the_history_of_a_split_is_not_shown() {
    let read = Split::long_ago().await.read(IgnoresFilters, "latest").await;
    assert!(!read.is_empty() && read.iter().all(|data| data == "now"), "{read:?}");
}

#[tokio::test]
async fn from_a_time_after_a_split_its_history_is_not_shown() {
    let stream = Split::long_ago().await;
    let after = stream.clock.wall_millis() as f64 / 1000.0 - 50.0;
    let read = stream.read(IgnoresFilters, &format!("{after:.3}")).await;
    assert!(!read.is_empty() && read.iter().all(|data| data == "now"), "{read:?}");
}

#[tokio::test]
async fn from_the_trim_horizon_the_history_of_a_split_is_shown() {
    let read = Split::long_ago().await.read(IgnoresFilters, "trim-horizon").await;
    assert_eq!(read[0], "before the split");
}

#[tokio::test]
async fn what_is_put_into_a_half_while_the_shards_are_listed_is_not_skipped() {
    // The page with the parent was from before the split.
    let parent_is_open = first_listing(|shards| {
        let numbers = shards[0].sequence_number_range.as_mut().unwrap();
        numbers.ending_sequence_number = None;
    });
    let read = Split::long_ago().await.read(parent_is_open, "latest").await;
    assert_eq!(read[0], "in a half");
}

#[tokio::test]
async fn a_closed_shard_whose_children_are_not_listed_yet_is_followed() {
    let no_halves = first_listing(|shards| shards.truncate(1));
    let read = Split::long_ago().await.read(no_halves, "latest").await;
    assert_eq!(read[0], "in a half");
}

/// Shows the half that has the record late.
fn one_half(shards: &mut Vec<Shard>) {
    shards.truncate(2);
}

#[tokio::test]
async fn a_closed_shard_with_one_child_not_listed_yet_is_followed() {
    let read = Split::long_ago().await.read(first_listing(one_half), "latest").await;
    assert_eq!(read[0], "in a half");
}

#[tokio::test]
async fn a_listing_with_one_child_of_two_is_asked_for_again() {
    let split = Split::long_ago().await;
    let config = split.client.config().to_builder().interceptor(first_listing(one_half));
    let client = Client::from_conf(config.build());
    let (stream, shard) = ("s".to_owned(), "shardId-000000000000".to_owned());
    let reader = Reader { client, stream, shard, from: From::Latest, began: None, last: None };
    let listed = reader.listing().await.unwrap();
    let children = listed.iter().filter(|child| child.came_out_of(&reader.shard));
    assert_eq!(children.count(), 2);
}

#[tokio::test]
async fn a_merged_shard_waits_for_what_the_other_parent_came_out_of() {
    let (_endpoint, client) = served(2, unlimited()).await;
    let [left, right, half] = [0, 1, 2].map(|number| format!("shardId-{number:012}"));
    let split = client.split_shard().stream_name("s").shard_to_split(&right);
    split.new_starting_hash_key((3_u128 << 126).to_string()).send().await.unwrap();
    let merge = client.merge_shards().stream_name("s").shard_to_merge(&left);
    merge.adjacent_shard_to_merge(half).send().await.unwrap();
    let args = Args::parse_from(["tail", "s", "--from", "trim-horizon"]);
    let mut lineage = Lineage::default();
    let first = first_shards(&client, &args).await.unwrap().into_iter().map(Child::of);
    assert_eq!(lineage.begin(first.collect(), &BTreeSet::new()), [&*left, &*right]);
    let (stream, shard, from) = (args.stream, left, args.from);
    let reader = Reader { client, stream, shard, from, began: None, last: None };
    let ended = reader.run(mpsc::channel(1).0).await.unwrap();
    assert!(lineage.end(&ended.shard, ended.listed).is_empty(), "the right one is still read");
}

/// A clock that begins now and that the test moves.
struct Moved(AtomicU64);

#[kcl_core::async_trait]
impl Clock for Moved {
    fn monotonic(&self) -> Moment {
        Moment(Duration::from_millis(self.wall_millis()))
    }
    fn wall_millis(&self) -> u64 {
        SystemClock.wall_millis() + self.0.load(Ordering::Relaxed)
    }
    async fn sleep_until(&self, moment: Moment) {
        while self.monotonic() < moment {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_first_place_that_expired_skips_nothing() {
    let clock = Arc::new(Moved(AtomicU64::new(0)));
    let (_endpoint, client) = served(1, with_clock(&clock)).await;
    let (stream, shard) = ("s".to_owned(), "shardId-000000000000".to_owned());
    let from = From::Latest;
    let mut reader =
        Reader { client: client.clone(), stream, shard, from, began: None, last: None };
    let first = reader.iterator().await.unwrap();
    let put = client.put_record().stream_name("s").partition_key("k");
    put.data(Blob::new("never brought")).send().await.unwrap();
    clock.0.store(301_000, Ordering::Relaxed);
    let expired = client.get_records().shard_iterator(first).send().await.unwrap_err();
    assert_eq!(expired.code(), Some("ExpiredIteratorException"));
    let again = reader.iterator().await.unwrap();
    let got = client.get_records().shard_iterator(again).send().await.unwrap();
    assert_eq!(got.records()[0].data().as_ref(), b"never brought");
}

#[test]
fn a_beginning_is_a_word_or_a_time() {
    assert_eq!(from("latest"), Ok(From::Latest));
    assert_eq!(from("1767225600.5"), Ok(From::Time(1_767_225_600.5)));
    assert!(from("yesterday").is_err() && from("-1").is_err());
}
