//! The service's values as the framework's.

use std::collections::BTreeSet;
use std::fmt::Display;

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::types::{
    ChildShard as WireChild, HashKeyRange as WireRange, Record as WireRecord, Shard as WireShard,
    SubscribeToShardEvent,
};
use bytes::Bytes;
use kcl_core::{ChildShard, PartitionKey, Record, Shard, SourceError};
use kcl_protocol::{HashKeyRange, Position, SequenceNumber, ShardId};

use crate::api::{Event, Page};

/// A value that breaks the service's own rules: nobody guesses what was meant.
fn bad(what: &str, value: impl Display) -> SourceError {
    SourceError::Refused(format!("the service sent {value} for a {what}"))
}

/// All of an answer, or none of it.
pub(super) fn page(wire: GetRecordsOutput) -> Result<Page, SourceError> {
    Ok(Page {
        records: records(wire.records)?,
        behind_millis: behind(wire.millis_behind_latest.unwrap_or(0)),
        next: wire.next_shard_iterator,
        children: children(wire.child_shards.unwrap_or_default())?,
    })
}

pub(super) fn event(wire: SubscribeToShardEvent) -> Result<Event, SourceError> {
    // The client makes an empty text of none.
    let passed = Some(&wire.continuation_sequence_number).filter(|number| !number.is_empty());
    Ok(Event {
        passed: passed.map(|number| sequence(number)).transpose()?,
        records: records(wire.records)?,
        behind_millis: behind(wire.millis_behind_latest),
        children: children(wire.child_shards.unwrap_or_default())?,
    })
}

fn behind(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0)
}

fn records(wire: Vec<WireRecord>) -> Result<Vec<Record>, SourceError> {
    wire.into_iter().map(record).collect()
}

/// None of them if one comes without its parents, and a listing is asked instead: the child of a
/// merge waits for both of its parents, and must not be taken for one that waits for none.
fn children(wire: Vec<WireChild>) -> Result<Vec<ChildShard>, SourceError> {
    if wire.iter().any(|child| child.parent_shards.is_empty()) {
        return Ok(Vec::new());
    }
    wire.iter().map(child).collect()
}

fn sequence(text: &str) -> Result<SequenceNumber, SourceError> {
    text.parse().map_err(|error| bad("sequence number", error))
}

fn record(wire: WireRecord) -> Result<Record, SourceError> {
    let sequence = sequence(&wire.sequence_number)?;
    let arrival = wire.approximate_arrival_timestamp.and_then(|time| time.to_millis().ok());
    Ok(Record {
        position: Position::from(sequence),
        // Streams that spread records by themselves have records without a key.
        partition_key: PartitionKey::from(wire.partition_key.unwrap_or_default()),
        data: Bytes::from(wire.data.into_inner()),
        arrival_millis: arrival.and_then(|millis| u64::try_from(millis).ok()).unwrap_or(0),
        unreadable: None,
    })
}

pub(super) fn shard(wire: &WireShard) -> Result<Shard, SourceError> {
    let parents = [&wire.parent_shard_id, &wire.adjacent_parent_shard_id];
    let ended = wire.sequence_number_range.as_ref();
    Ok(Shard {
        id: ShardId::new(&wire.shard_id),
        parents: parents.into_iter().flatten().map(ShardId::new).collect(),
        range: range(wire.hash_key_range.as_ref())?,
        is_open: ended.is_none_or(|range| range.ending_sequence_number.is_none()),
        tip: None,
    })
}

fn child(wire: &WireChild) -> Result<ChildShard, SourceError> {
    Ok(ChildShard {
        id: ShardId::new(&wire.shard_id),
        parents: wire.parent_shards.iter().map(ShardId::new).collect::<BTreeSet<_>>(),
        range: range(wire.hash_key_range.as_ref())?,
    })
}

fn range(wire: Option<&WireRange>) -> Result<HashKeyRange, SourceError> {
    let wire = wire.ok_or_else(|| bad("hash key range", "nothing"))?;
    let key = |text: &str| text.parse::<u128>().map_err(|_| bad("hash key", text));
    let (start, end) = (key(&wire.starting_hash_key)?, key(&wire.ending_hash_key)?);
    if start > end {
        return Err(bad("hash key range", format!("{start} to {end}")));
    }
    Ok(HashKeyRange { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child of these parents.
    fn child_of(parents: &[&str]) -> WireChild {
        let range = WireRange::builder().starting_hash_key("0").ending_hash_key("9");
        let parents = parents.iter().map(|parent| (*parent).to_owned()).collect();
        let child = WireChild::builder().shard_id("child").set_parent_shards(Some(parents));
        child.hash_key_range(range.build().unwrap()).build().unwrap()
    }

    fn told(children: Vec<WireChild>) -> [usize; 2] {
        let children = Some(children);
        let answer = GetRecordsOutput::builder().set_records(Some(Vec::new()));
        let answer = answer.set_child_shards(children.clone()).build().unwrap();
        let last = SubscribeToShardEvent::builder().set_records(Some(Vec::new()));
        let last = last.continuation_sequence_number("").millis_behind_latest(0);
        let last = last.set_child_shards(children).build().unwrap();
        [page(answer).unwrap().children.len(), event(last).unwrap().children.len()]
    }

    #[test]
    fn children_are_told_with_the_parents_of_each_or_not_at_all() {
        assert_eq!(told(vec![child_of(&["a"]), child_of(&["a"])]), [2, 2]);
        assert_eq!(told(vec![child_of(&["a", "b"])]), [1, 1]);
        assert_eq!(told(vec![child_of(&[])]), [0, 0]);
        assert_eq!(told(vec![child_of(&["a"]), child_of(&[])]), [0, 0]);
    }
}
