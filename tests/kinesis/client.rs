//! The endpoint as the real client sees it.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, ScalingType, ShardFilter, ShardFilterType, ShardIteratorType,
    StreamStatus,
};

use kcl_core::{Clock, SystemClock};
use kcl_endpoint::{Endpoint, EndpointConfig};

use crate::local;

async fn drain(client: &Client, shard: &str) -> (Vec<String>, Vec<String>) {
    let iterator = client.get_shard_iterator().stream_name("s").shard_id(shard);
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await;
    let mut next = iterator.unwrap().shard_iterator;
    let mut data = Vec::new();
    while let Some(iterator) = next {
        let got = client.get_records().shard_iterator(iterator).send().await.unwrap();
        let text = |blob: &Blob| String::from_utf8(blob.as_ref().to_vec()).unwrap();
        data.extend(got.records().iter().map(|record| text(record.data())));
        if got.next_shard_iterator.is_none() {
            let children = got.child_shards().iter().map(|child| child.shard_id().to_owned());
            return (data, children.collect());
        }
        if got.records().is_empty() {
            break;
        }
        next = got.next_shard_iterator;
    }
    (data, Vec::new())
}

#[tokio::test]
async fn a_stream_lives_from_create_to_delete() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    client.create_stream().stream_name("new").shard_count(2).send().await.unwrap();
    let again = client.create_stream().stream_name("new").shard_count(2).send().await;
    assert_eq!(again.unwrap_err().code(), Some("ResourceInUseException"));
    let summary = client.describe_stream_summary().stream_name("new").send().await.unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!(summary.stream_status, StreamStatus::Active);
    assert_eq!((summary.open_shard_count, summary.retention_period_hours), (2, 24));
    let described = client.describe_stream().stream_name("new").limit(1).send().await.unwrap();
    let described = described.stream_description.unwrap();
    assert_eq!((described.shards.len(), described.has_more_shards), (1, true));
    let listed = client.list_streams().limit(1).send().await.unwrap();
    assert_eq!((listed.stream_names(), listed.has_more_streams), (&["new".to_owned()][..], true));
    let rest = client.list_streams().set_next_token(listed.next_token).send().await.unwrap();
    assert_eq!(rest.stream_names(), ["s"]);
    client.delete_stream().stream_name("new").send().await.unwrap();
    let gone = client.describe_stream_summary().stream_name("new").send().await;
    assert_eq!(gone.unwrap_err().code(), Some("ResourceNotFoundException"));
}

#[tokio::test]
async fn records_put_are_read_by_every_kind_of_iterator() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let entry = |text: &str| {
        PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new(text)).build().unwrap()
    };
    let entries = ["a", "b", "c"].map(entry).to_vec();
    let put = client.put_records().stream_name("s").set_records(Some(entries)).send().await;
    let put = put.unwrap();
    assert_eq!((put.failed_record_count, put.records.len()), (Some(0), 3));
    let second = put.records()[1].sequence_number().unwrap();
    let before = SystemClock.wall_millis() as i64 - 60_000;
    for (kind, sequence, expected) in [
        (ShardIteratorType::TrimHorizon, None, 3),
        (ShardIteratorType::Latest, None, 0),
        (ShardIteratorType::AtSequenceNumber, Some(second), 2),
        (ShardIteratorType::AfterSequenceNumber, Some(second), 1),
        (ShardIteratorType::AtTimestamp, None, 3),
    ] {
        let iterator =
            client.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
        let iterator = iterator.set_starting_sequence_number(sequence.map(str::to_owned));
        let time = (kind == ShardIteratorType::AtTimestamp).then(|| DateTime::from_millis(before));
        let iterator = iterator.shard_iterator_type(kind.clone()).set_timestamp(time);
        let iterator = iterator.send().await.unwrap();
        let got = client.get_records().set_shard_iterator(iterator.shard_iterator).send().await;
        let got = got.unwrap();
        assert_eq!(got.records().len(), expected, "{kind:?}");
        assert!(got.next_shard_iterator.is_some());
        assert_eq!(got.millis_behind_latest, Some(0));
    }
}

#[tokio::test]
async fn a_closed_shard_names_its_children_and_listings_follow() {
    let endpoint = local::endpoint(2).await;
    let client = local::client(&endpoint);
    let put = client.put_record().stream_name("s").partition_key("k").explicit_hash_key("0");
    put.data(Blob::new("x")).send().await.unwrap();
    let split = client.split_shard().stream_name("s").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key("1000").send().await.unwrap();
    let (data, children) = drain(&client, "shardId-000000000000").await;
    assert_eq!(data, ["x"]);
    assert_eq!(children, ["shardId-000000000002", "shardId-000000000003"]);
    let merge = client.merge_shards().stream_name("s").shard_to_merge("shardId-000000000002");
    merge.adjacent_shard_to_merge("shardId-000000000003").send().await.unwrap();
    let (_, children) = drain(&client, "shardId-000000000003").await;
    assert_eq!(children, ["shardId-000000000004"]);
    let latest = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build().unwrap();
    let open = client.list_shards().stream_name("s").shard_filter(latest).send().await.unwrap();
    assert_eq!(open.shards().len(), 2);
    let page = client.list_shards().stream_name("s").max_results(3).send().await.unwrap();
    let rest = client.list_shards().set_next_token(page.next_token.clone()).send().await.unwrap();
    assert_eq!((page.shards().len(), rest.shards().len()), (3, 2));
    let update = client.update_shard_count().stream_name("s").target_shard_count(4);
    let updated = update.scaling_type(ScalingType::UniformScaling).send().await.unwrap();
    assert_eq!((updated.current_shard_count, updated.target_shard_count), (Some(2), Some(4)));
}

#[tokio::test]
async fn wrong_requests_are_refused_as_the_service_does() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let forged = client.get_records().shard_iterator("AAAAforged").send().await.unwrap_err();
    assert_eq!(forged.code(), Some("InvalidArgumentException"));
    let unknown = client.get_shard_iterator().stream_name("s").shard_id("shardId-000000000009");
    let unknown = unknown.shard_iterator_type(ShardIteratorType::Latest).send().await;
    assert_eq!(unknown.unwrap_err().code(), Some("ResourceNotFoundException"));
    let put = client.put_record().stream_name("s").partition_key("k").explicit_hash_key("x");
    let put = put.data(Blob::new("x")).send().await.unwrap_err();
    assert_eq!(put.code(), Some("ValidationException"));
    let limit = client.get_records().shard_iterator("x").limit(10_001).send().await.unwrap_err();
    assert_eq!(limit.code(), Some("InvalidArgumentException"));
    let large = Blob::new(vec![0; (1 << 20) + 1]);
    let large = client.put_record().stream_name("s").partition_key("k").data(large).send().await;
    assert_eq!(large.unwrap_err().code(), Some("InvalidArgumentException"));
}

#[tokio::test]
async fn rates_are_told_as_the_errors_that_the_client_knows() {
    let streams = vec![("s".to_owned(), 1)];
    let config = EndpointConfig { streams, ..EndpointConfig::default() };
    let endpoint = Endpoint::start(config).await.unwrap();
    let once = RetryConfig::disabled();
    let client = local::client(&endpoint);
    let client = Client::from_conf(client.config().to_builder().retry_config(once).build());
    let large = |_| {
        let entry = PutRecordsRequestEntry::builder().partition_key("k");
        entry.data(Blob::new(vec![0; 400_000])).build().unwrap()
    };
    let put = client.put_records().stream_name("s");
    let put = put.set_records(Some((0..4).map(large).collect())).send().await.unwrap();
    assert_eq!(put.failed_record_count, Some(2));
    let code = put.records()[3].error_code();
    assert_eq!(code, Some("ProvisionedThroughputExceededException"));
    let place = client.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
    let place = place.shard_iterator_type(ShardIteratorType::Latest).send().await.unwrap();
    let read = || client.get_records().set_shard_iterator(place.shard_iterator.clone()).send();
    let mut refusal = None;
    // Five a second: seven in a row take less than that.
    for _ in 0..7 {
        refusal = refusal.or(read().await.err());
    }
    let refusal = refusal.unwrap().into_service_error();
    assert!(refusal.is_provisioned_throughput_exceeded_exception(), "{refusal:?}");
}
