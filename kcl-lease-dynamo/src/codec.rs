//! Lease rows and positions to and from items. Decoding is strict: a row that is not understood
//! is never acted upon. Unknown attributes are ignored.

use aws_sdk_dynamodb::types::AttributeValue;
use kcl_protocol::{
    Checkpoint, Fence, HashKeyRange, Lease, LeaseKey, Ordinal, Parked, Position, WorkerId,
};

use crate::attributes::{Decoded, Item, Reader, number, shard_set, text};
use crate::schema as s;

/// True if a row of the lease table is a lease: others may live there beside it, put by others.
pub(crate) fn is_lease(item: &Item) -> bool {
    match item.get(s::ENTITY_TYPE) {
        None => true,
        Some(AttributeValue::S(kind)) => kind == s::ENTITY_LEASE,
        Some(_) => false,
    }
}

pub(crate) fn position_text(position: Position) -> String {
    position.to_string()
}

pub(crate) fn parse_position(text: &str, name: &str) -> Decoded<Position> {
    let (sequence, subsequence) = text.split_once('/').unwrap_or((text, "0"));
    let sequence = sequence.parse().map_err(|error| format!("{name}: {error}"))?;
    let subsequence = subsequence
        .parse()
        .map_err(|_| format!("{name} is {text:?}, expected sequence/subsequence"))?;
    Ok(Position { sequence, subsequence })
}

/// The attributes of a checkpoint: always the same two, and a third for a timestamp.
pub(crate) fn checkpoint_attributes(
    checkpoint: Checkpoint,
) -> (AttributeValue, AttributeValue, Option<AttributeValue>) {
    let zero = || number(0u64);
    match checkpoint {
        Checkpoint::AtTimestamp(millis) => (text(s::AT_TIMESTAMP), zero(), Some(number(millis))),
        Checkpoint::TrimHorizon => (text(s::TRIM_HORIZON), zero(), None),
        Checkpoint::Latest => (text(s::LATEST), zero(), None),
        Checkpoint::ShardEnd => (text(s::SHARD_END), zero(), None),
        Checkpoint::At(at) => (text(at.sequence), number(at.subsequence), None),
    }
}

fn checkpoint(row: Reader<'_>) -> Decoded<Checkpoint> {
    Ok(match row.text(s::CHECKPOINT)? {
        s::TRIM_HORIZON => Checkpoint::TrimHorizon,
        s::LATEST => Checkpoint::Latest,
        s::SHARD_END => Checkpoint::ShardEnd,
        s::AT_TIMESTAMP => Checkpoint::AtTimestamp(row.number(s::CHECKPOINT_MILLIS)?),
        digits => Checkpoint::At(Position {
            sequence: digits.parse().map_err(|error| format!("{}: {error}", s::CHECKPOINT))?,
            subsequence: row.number_if_any(s::CHECKPOINT_SUB)?.unwrap_or(0),
        }),
    })
}

pub(crate) fn encode_lease(lease: &Lease) -> Item {
    let (checkpoint, subsequence, millis) = checkpoint_attributes(lease.checkpoint);
    let always = [
        (s::LEASE_KEY, text(&lease.key)),
        (s::ENTITY_TYPE, text(s::ENTITY_LEASE)),
        (s::LEASE_COUNTER, number(lease.fence.0)),
        (s::ORDINAL, number(lease.ordinal.0)),
        (s::CHECKPOINT, checkpoint),
        (s::CHECKPOINT_SUB, subsequence),
        (s::OWNER_SWITCHES, number(lease.owner_switches)),
        (s::HASH_START, text(lease.range.start)),
        (s::HASH_END, text(lease.range.end)),
    ];
    let prefix = lease.key.stream_prefix();
    let parked = lease.parked.as_ref();
    let if_any = [
        (s::STREAM_NAME, prefix.map(text)),
        (s::SHARD_ID, prefix.map(|_| text(lease.key.shard()))),
        (s::LEASE_OWNER, lease.owner.as_ref().map(text)),
        (s::CHECKPOINT_MILLIS, millis),
        (s::PARENTS, shard_set(&lease.parents)),
        (s::CHILDREN, shard_set(&lease.children)),
        (s::PARKED_REASON, parked.map(|parked| text(&parked.reason))),
        (s::PARKED_AT, parked.and_then(|parked| parked.at).map(|at| text(position_text(at)))),
        (s::UNLISTED_SINCE, lease.unlisted_since_millis.map(number)),
    ];
    let present = if_any.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    always.into_iter().chain(present).map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn decode_lease(item: &Item) -> Decoded<Lease> {
    let row = Reader(item);
    if let Some(owner) = row.text_if_any(s::CHECKPOINT_OWNER)? {
        return Err(format!(
            "{} is {owner:?}: a Java KCL worker is handing this lease over; stop the Java fleet \
             before workers of this library use its table",
            s::CHECKPOINT_OWNER
        ));
    }
    if !is_lease(item) {
        return Err(format!("{} is not {}", s::ENTITY_TYPE, s::ENTITY_LEASE));
    }
    let (start, end) = (row.wide_decimal(s::HASH_START)?, row.wide_decimal(s::HASH_END)?);
    let range = HashKeyRange::new(start, end)
        .ok_or_else(|| format!("{} is above {}", s::HASH_START, s::HASH_END))?;
    let at = row.text_if_any(s::PARKED_AT)?.map(|at| parse_position(at, s::PARKED_AT));
    let at = at.transpose()?;
    let parked =
        row.text_if_any(s::PARKED_REASON)?.map(|reason| Parked { reason: reason.into(), at });
    Ok(Lease {
        key: LeaseKey::new(row.text(s::LEASE_KEY)?),
        owner: row.text_if_any(s::LEASE_OWNER)?.map(WorkerId::new),
        fence: Fence(row.number(s::LEASE_COUNTER)?),
        ordinal: Ordinal(row.number_if_any(s::ORDINAL)?.unwrap_or(0)),
        checkpoint: checkpoint(row)?,
        parents: row.shards(s::PARENTS)?,
        children: row.shards(s::CHILDREN)?,
        range,
        parked,
        owner_switches: row.number(s::OWNER_SWITCHES)?,
        unlisted_since_millis: row.number_if_any(s::UNLISTED_SINCE)?,
    })
}
