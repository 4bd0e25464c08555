//! Answers that leave something out, or refuse what was given: over the wire.

use kcl_core::{ReadFrom, ReadOutcome, SourceError, StreamSource};

use crate::one_layer::{Answer, ITERATOR, SUMMARY, Service};
use crate::pushed::{LIMIT, first_shard};

const NO_ITERATOR: Answer = ("getsharditerator", "200 OK", "{}");

/// The first shard, closed, and what a merge with the second has made of it.
const MERGED: Answer = (
    "listshards",
    "200 OK",
    r#"{"Shards": [
        {"ShardId": "shardId-000000000000",
         "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "4"},
         "SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": "2"}},
        {"ShardId": "shardId-000000000002", "ParentShardId": "shardId-000000000000",
         "AdjacentParentShardId": "shardId-000000000001",
         "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"},
         "SequenceNumberRange": {"StartingSequenceNumber": "3"}}]}"#,
);

/// Of a service that compares creation times otherwise than it tells them.
const NOT_BY_TIME: Answer = (
    "listshards streamcreationtimestamp",
    "400 Bad Request",
    r#"{"__type": "ResourceNotFoundException", "message": "no such stream"}"#,
);

/// The last page of the first shard, whose child does not name its parents.
const NO_PARENTS: Answer = (
    "getrecords",
    "200 OK",
    r#"{"Records": [], "MillisBehindLatest": 0, "ChildShards": [
        {"ShardId": "shardId-000000000002",
         "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"}}]}"#,
);

const BAD_ARGUMENT: Answer = (
    "getrecords",
    "400 Bad Request",
    r#"{"__type": "InvalidArgumentException", "message": "of unknown reason"}"#,
);

/// What was asked until the shard had ended with the child of the merge, and both its parents.
async fn ends_by_a_listing(answers: &'static [Answer]) -> Vec<String> {
    let service = Service::with(answers).await;
    let mut reader = service.polled().open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    let ReadOutcome::ShardEnd { children } = reader.next(LIMIT).await.unwrap() else { panic!() };
    assert_eq!(children.len(), 1);
    assert_eq!(children[0].parents.len(), 2, "{children:?}");
    service.asked()
}

#[tokio::test]
async fn no_iterator_is_the_end_of_a_closed_shard() {
    let asked = ends_by_a_listing(&[NO_ITERATOR, MERGED]).await;
    assert_eq!(asked, ["getsharditerator", "listshards"]);
}

#[tokio::test]
async fn a_child_without_parents_is_not_believed() {
    let asked = ends_by_a_listing(&[ITERATOR, NO_PARENTS, MERGED]).await;
    assert_eq!(asked, ["getsharditerator", "getrecords", "listshards"]);
}

#[tokio::test]
async fn an_argument_that_stays_bad_is_refused_after_one_new_iterator_and_a_look_at_the_stream() {
    let service = Service::with(&[SUMMARY, MERGED, ITERATOR, BAD_ARGUMENT]).await;
    let source = service.polled();
    source.describe().await.unwrap();
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    let refused = reader.next(LIMIT).await.unwrap_err();
    assert!(matches!(refused, SourceError::Refused(_)), "{refused:?}");
    let expected = "describestreamsummary getsharditerator listshards \
        getrecords describestreamsummary getsharditerator listshards \
        getrecords describestreamsummary";
    assert_eq!(service.asked().join(" "), expected);
    assert!(refused.to_string().contains("of unknown reason"), "{refused}");
}

#[tokio::test]
async fn a_stream_that_is_not_found_by_its_own_creation_time_is_read_all_the_same() {
    let service = Service::with(&[SUMMARY, NOT_BY_TIME, MERGED, ITERATOR]).await;
    let source = service.polled();
    source.describe().await.unwrap();
    assert_eq!(source.list_shards().await.unwrap().len(), 2);
    source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    let expected = "describestreamsummary listshards describestreamsummary listshards \
        getsharditerator listshards describestreamsummary";
    assert_eq!(service.asked().join(" "), expected);
}

#[tokio::test]
async fn a_stream_that_cannot_be_described_either_is_not_taken_for_gone() {
    let service = Service::with(&[SUMMARY, NOT_BY_TIME, MERGED, ITERATOR]).await;
    let source = service.polled();
    source.describe().await.unwrap();
    service.fail("describestreamsummary");
    let opened = source.open(&first_shard(), ReadFrom::TrimHorizon).await.err();
    for error in [source.list_shards().await.err(), opened] {
        assert!(error.as_ref().is_some_and(SourceError::is_transient), "{error:?}");
    }
}
