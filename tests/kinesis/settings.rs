//! What streams, consumers and the account are set to, through the real client.

use std::time::Duration;

use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    EncryptionType, MetricsName, MinimumThroughputBillingCommitmentInput,
    MinimumThroughputBillingCommitmentInputStatus as Wanted,
    MinimumThroughputBillingCommitmentOutputStatus as Told, PutRecordsRequestEntry,
    RecordDistributionStrategy, ScalingType, ShardFilter, ShardFilterType, ShardIteratorType,
    StreamMode, StreamModeDetails, StreamStatus,
};
use aws_sdk_kinesis::{Client, types::MinimumThroughputBillingCommitmentOutput};

use crate::local;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
const SHARD: &str = "shardId-000000000000";
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

fn mode(mode: StreamMode) -> StreamModeDetails {
    StreamModeDetails::builder().stream_mode(mode).build().unwrap()
}

#[tokio::test]
async fn streams_and_consumers_have_tags() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let add = client.add_tags_to_stream().stream_name("s").tags("b", "2").tags("a", "1");
    add.send().await.unwrap();
    let page = client.list_tags_for_stream().stream_name("s").limit(1).send().await.unwrap();
    assert_eq!((page.tags()[0].key(), page.has_more_tags), ("a", true));
    let rest = client.list_tags_for_stream().stream_name("s").exclusive_start_tag_key("a");
    let rest = rest.send().await.unwrap();
    assert_eq!((rest.tags()[0].value(), rest.has_more_tags), (Some("2"), false));
    client.tag_resource().resource_arn(ARN).tags("a", "changed").send().await.unwrap();
    client.remove_tags_from_stream().stream_name("s").tag_keys("b").send().await.unwrap();
    let listed = client.list_tags_for_resource().resource_arn(ARN).send().await.unwrap();
    assert_eq!(listed.tags().len(), 1);
    assert_eq!(listed.tags()[0].value(), Some("changed"));
    client.untag_resource().resource_arn(ARN).tag_keys("a").send().await.unwrap();
    let listed = client.list_tags_for_resource().resource_arn(ARN).send().await.unwrap();
    assert!(listed.tags().is_empty());
    let register = client.register_stream_consumer().stream_arn(ARN).consumer_name("c");
    let consumer = register.tags("k", "v").send().await.unwrap().consumer.unwrap().consumer_arn;
    let listed = client.list_tags_for_resource().resource_arn(&consumer).send().await.unwrap();
    assert_eq!(listed.tags()[0].key(), "k");
    let mut many = client.add_tags_to_stream().stream_name("s");
    for number in 0..51 {
        many = many.tags(format!("k{number}"), "v");
    }
    assert_eq!(many.send().await.unwrap_err().code(), Some("InvalidArgumentException"));
}

#[tokio::test]
async fn a_policy_is_kept_and_given_back() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let none = client.get_resource_policy().resource_arn(ARN).send().await.unwrap_err();
    assert_eq!(none.code(), Some("ResourceNotFoundException"));
    let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let put = client.put_resource_policy().resource_arn(ARN);
    put.clone().policy(policy).send().await.unwrap();
    let got = client.get_resource_policy().resource_arn(ARN).send().await.unwrap();
    assert_eq!(got.policy(), policy);
    let wrong = put.policy("not json").send().await.unwrap_err();
    assert_eq!(wrong.code(), Some("InvalidArgumentException"));
    client.delete_resource_policy().resource_arn(ARN).send().await.unwrap();
    assert!(client.get_resource_policy().resource_arn(ARN).send().await.is_err());
}

#[tokio::test]
async fn encryption_monitoring_and_record_size_show_in_the_description() {
    let (endpoint, clock) = local::limited(1, SECOND).await;
    let client = local::client(&endpoint);
    let start = client.start_stream_encryption().stream_name("s").key_id("alias/k");
    start.encryption_type(EncryptionType::Kms).send().await.unwrap();
    let busy = client.update_max_record_size().stream_arn(ARN).max_record_size_in_kib(2048);
    assert_eq!(busy.clone().send().await.unwrap_err().code(), Some("ResourceInUseException"));
    clock.by(SECOND);
    busy.send().await.unwrap();
    clock.by(SECOND);
    let enable = client.enable_enhanced_monitoring().stream_name("s");
    let enabled = enable.shard_level_metrics(MetricsName::All).send().await.unwrap();
    let levels = (enabled.current_shard_level_metrics(), enabled.desired_shard_level_metrics());
    assert_eq!((levels.0.len(), levels.1.len()), (0, 7));
    let disable = client.disable_enhanced_monitoring().stream_name("s");
    disable.shard_level_metrics(MetricsName::IncomingBytes).send().await.unwrap();
    let summary = client.describe_stream_summary().stream_name("s").send().await.unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!(summary.encryption_type, Some(EncryptionType::Kms));
    assert_eq!(summary.key_id.as_deref(), Some("alias/k"));
    assert_eq!(summary.max_record_size_in_kib, Some(2048));
    assert_eq!(summary.enhanced_monitoring[0].shard_level_metrics().len(), 6);
    let put =
        client.put_record().stream_name("s").partition_key("k").data(Blob::new(vec![0; 2_000_000]));
    assert_eq!(put.send().await.unwrap().encryption_type, Some(EncryptionType::Kms));
    let iterator = client.get_shard_iterator().stream_name("s").shard_id(SHARD);
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await;
    let iterator = iterator.unwrap().shard_iterator;
    let got = client.get_records().set_shard_iterator(iterator).send().await.unwrap();
    assert_eq!(got.records()[0].data().as_ref().len(), 2_000_000);
    assert_eq!(got.records()[0].encryption_type(), Some(&EncryptionType::Kms));
    let stop = client.stop_stream_encryption().stream_name("s").key_id("alias/k");
    stop.encryption_type(EncryptionType::Kms).send().await.unwrap();
    clock.by(SECOND);
    let described = client.describe_stream().stream_name("s").send().await.unwrap();
    let described = described.stream_description.unwrap();
    assert_eq!(described.encryption_type, Some(EncryptionType::None));
    assert_eq!(described.stream_status, StreamStatus::Active);
}

#[tokio::test]
async fn a_stream_changes_its_mode_twice_a_day_and_is_not_resharded_on_demand() {
    let (endpoint, clock) = local::limited(1, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let to = |to: StreamMode| {
        client.update_stream_mode().stream_arn(ARN).stream_mode_details(mode(to)).send()
    };
    to(StreamMode::OnDemand).await.unwrap();
    let split = client.split_shard().stream_name("s").shard_to_split(SHARD);
    let split = split.new_starting_hash_key("5").send().await.unwrap_err();
    assert_eq!(split.code(), Some("ValidationException"));
    let limits = client.describe_limits().send().await.unwrap();
    assert_eq!((limits.on_demand_stream_count, limits.open_shard_count), (1, 0));
    to(StreamMode::Provisioned).await.unwrap();
    let third = to(StreamMode::OnDemand).await.unwrap_err();
    assert_eq!(third.code(), Some("LimitExceededException"));
    clock.by(DAY);
    to(StreamMode::OnDemand).await.unwrap();
}

#[tokio::test]
async fn an_on_demand_stream_has_four_shards_and_spreads_records_itself_if_told() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let auto = RecordDistributionStrategy::Auto;
    let create = client.create_stream().stream_name("d").tags("k", "v");
    let create = create.stream_mode_details(mode(StreamMode::OnDemand));
    create.record_distribution_strategy(auto.clone()).send().await.unwrap();
    let summary = client.describe_stream_summary().stream_name("d").send().await.unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!(summary.open_shard_count, 4);
    assert_eq!(summary.record_distribution_strategy, Some(auto.clone()));
    assert_eq!(summary.stream_mode_details.unwrap().stream_mode, StreamMode::OnDemand);
    let entry = || PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new("x"));
    let entries = (0..100).map(|_| entry().build().unwrap()).collect();
    let put = client.put_records().stream_name("d").set_records(Some(entries)).send().await;
    let put = put.unwrap();
    let shards: std::collections::BTreeSet<_> =
        put.records().iter().map(|record| record.shard_id().unwrap()).collect();
    assert_eq!(shards.len(), 4, "one key went to every shard");
    let provisioned = client.update_stream_record_distribution_strategy().stream_arn(ARN);
    let refused = provisioned.record_distribution_strategy(auto).send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidArgumentException"));
}

#[tokio::test]
async fn warm_throughput_needs_a_commitment_that_lasts_a_day() {
    let (endpoint, clock) = local::limited(1, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let set = |status: Wanted| {
        let commitment = MinimumThroughputBillingCommitmentInput::builder().status(status);
        let commitment = commitment.build().unwrap();
        let update = client.update_account_settings();
        update.minimum_throughput_billing_commitment(commitment).send()
    };
    let status = async |client: &Client| -> MinimumThroughputBillingCommitmentOutput {
        let settings = client.describe_account_settings().send().await.unwrap();
        settings.minimum_throughput_billing_commitment.unwrap()
    };
    assert_eq!(status(&client).await.status, Told::Disabled);
    let details = mode(StreamMode::OnDemand);
    client.update_stream_mode().stream_arn(ARN).stream_mode_details(details).send().await.unwrap();
    let warm = client.update_stream_warm_throughput().stream_arn(ARN).warm_throughput_mibps(100);
    let early = warm.clone().send().await.unwrap_err();
    assert_eq!(early.code(), Some("ValidationException"));
    set(Wanted::Enabled).await.unwrap();
    let warmed = warm.send().await.unwrap().warm_throughput.unwrap();
    assert_eq!(warmed.target_mibps, Some(100));
    set(Wanted::Disabled).await.unwrap();
    assert_eq!(status(&client).await.status, Told::EnabledUntilEarliestAllowedEnd);
    clock.by(DAY);
    let ended = status(&client).await;
    assert_eq!(ended.status, Told::Disabled);
    assert!(ended.ended_at.is_some());
}

#[tokio::test]
async fn the_shard_count_is_updated_ten_times_a_day_by_half_to_double() {
    let (endpoint, clock) = local::limited(2, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let to = |target: i32| {
        let update = client.update_shard_count().stream_name("s").target_shard_count(target);
        update.scaling_type(ScalingType::UniformScaling).send()
    };
    for wrong in [5, 0] {
        assert!(to(wrong).await.is_err(), "{wrong}");
    }
    for number in 0..10 {
        to(2 + number % 2).await.unwrap();
        // No more than ten a second in any case.
        clock.by(Duration::from_millis(200));
    }
    assert_eq!(to(2).await.unwrap_err().code(), Some("LimitExceededException"));
    clock.by(DAY);
    to(2).await.unwrap();
}

#[tokio::test]
async fn shards_are_listed_by_the_time_they_were_open() {
    let (endpoint, clock) = local::limited(1, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let at = |seconds: i64| DateTime::from_secs(1_700_000_000 + seconds);
    clock.by(Duration::from_secs(100));
    let split = client.split_shard().stream_name("s").shard_to_split(SHARD);
    split.new_starting_hash_key("5").send().await.unwrap();
    clock.by(Duration::from_secs(100));
    let list = async |kind: ShardFilterType, time: Option<DateTime>| {
        let filter = ShardFilter::builder().r#type(kind).set_timestamp(time).build().unwrap();
        let listed = client.list_shards().stream_name("s").shard_filter(filter).send().await;
        listed.map(|listed| {
            let number = |id: &str| id.rsplit('0').next().unwrap_or("").to_owned();
            listed.shards().iter().map(|shard| number(shard.shard_id())).collect::<Vec<_>>()
        })
    };
    use ShardFilterType as Kind;
    for (kind, time, expected) in [
        (Kind::AtTrimHorizon, None, &[""][..]),
        (Kind::FromTrimHorizon, None, &["", "1", "2"]),
        (Kind::AtLatest, None, &["1", "2"]),
        (Kind::AtTimestamp, Some(at(50)), &[""]),
        (Kind::AtTimestamp, Some(at(150)), &["1", "2"]),
        (Kind::FromTimestamp, Some(at(50)), &["", "1", "2"]),
        (Kind::FromTimestamp, Some(at(150)), &["1", "2"]),
    ] {
        assert_eq!(list(kind.clone(), time).await.unwrap(), expected, "{kind:?} {time:?}");
    }
    let future = list(Kind::AtTimestamp, Some(at(500))).await.unwrap_err();
    assert_eq!(future.code(), Some("InvalidArgumentException"));
}

#[tokio::test]
async fn pages_and_iterators_expire_after_five_minutes() {
    let (endpoint, clock) = local::limited(3, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let page = client.list_shards().stream_name("s").max_results(1).send().await.unwrap();
    let next = page.next_token.unwrap();
    let iterator = client.get_shard_iterator().stream_name("s").shard_id(SHARD);
    let iterator = iterator.shard_iterator_type(ShardIteratorType::Latest).send().await.unwrap();
    let iterator = iterator.shard_iterator.unwrap();
    let both = client.list_shards().stream_name("s").next_token(&next).send().await.unwrap_err();
    assert_eq!(both.code(), Some("InvalidArgumentException"));
    clock.by(Duration::from_secs(300));
    client.list_shards().next_token(&next).send().await.unwrap();
    client.get_records().shard_iterator(&iterator).send().await.unwrap();
    clock.by(SECOND);
    let late = client.list_shards().next_token(&next).send().await.unwrap_err();
    assert_eq!(late.code(), Some("ExpiredNextTokenException"));
    let late = client.get_records().shard_iterator(&iterator).send().await.unwrap_err();
    assert_eq!(late.code(), Some("ExpiredIteratorException"));
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_says_so() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let put = client.put_record().stream_name("s").partition_key("k").data(Blob::new("x"));
    let put = put.dry_run(true).send().await.unwrap_err();
    assert_eq!(put.code(), Some("DryRunOperationException"));
    let iterator = client.get_shard_iterator().stream_name("s").shard_id(SHARD);
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon);
    let dry = iterator.clone().dry_run(true).send().await.unwrap_err();
    assert_eq!(dry.code(), Some("DryRunOperationException"));
    let iterator = iterator.send().await.unwrap().shard_iterator;
    let got = client.get_records().set_shard_iterator(iterator).send().await.unwrap();
    assert!(got.records().is_empty());
}

#[tokio::test]
async fn a_deleted_stream_is_deleting_for_a_while_and_gives_nothing_more() {
    let (endpoint, clock) = local::limited(1, SECOND).await;
    let client = local::client(&endpoint);
    client.delete_stream().stream_name("s").send().await.unwrap();
    let summary = client.describe_stream_summary().stream_name("s");
    let deleting = summary.clone().send().await.unwrap().stream_description_summary.unwrap();
    assert_eq!(deleting.stream_status, StreamStatus::Deleting);
    let put = client.put_record().stream_name("s").partition_key("k").data(Blob::new("x"));
    assert_eq!(put.send().await.unwrap_err().code(), Some("ResourceNotFoundException"));
    let create = client.create_stream().stream_name("s").shard_count(1);
    let busy = create.clone().send().await.unwrap_err();
    assert_eq!(busy.code(), Some("ResourceInUseException"));
    clock.by(SECOND);
    while summary.clone().send().await.is_ok() {}
    create.send().await.unwrap();
    let made = summary.send().await.unwrap().stream_description_summary.unwrap();
    assert_eq!(made.stream_status, StreamStatus::Creating);
}
