//! Lease rows and positions to and from items. Decoding is strict: a row that is not understood
//! is never acted upon. Unknown attributes are ignored.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use kcl_core::Bytes;
use kcl_protocol::{
    Checkpoint, Fence, HashKeyRange, Lease, LeaseKey, Ordinal, Parked, Position, Prepared, WorkerId,
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

/// The attributes of a prepared checkpoint, each with its value or none.
pub(crate) fn prepared_attributes(
    prepared: Option<&Prepared>,
) -> [(&'static str, Option<AttributeValue>); 4] {
    let (checkpoint, subsequence, millis) = prepared
        .map(|prepared| checkpoint_attributes(prepared.checkpoint))
        .map_or((None, None, None), |(at, sub, millis)| (Some(at), Some(sub), millis));
    let state = prepared.map(|prepared| &prepared.state).filter(|state| !state.is_empty());
    let state = state.map(|state| AttributeValue::B(Blob::new(state.to_vec())));
    [
        (s::PENDING, checkpoint),
        (s::PENDING_SUB, subsequence),
        (s::PENDING_MILLIS, millis),
        (s::PENDING_STATE, state),
    ]
}

fn checkpoint(row: Reader<'_>) -> Decoded<Checkpoint> {
    let names = [s::CHECKPOINT, s::CHECKPOINT_SUB, s::CHECKPOINT_MILLIS];
    parse_checkpoint(row, row.text(s::CHECKPOINT)?, names)
}

/// The Java KCL takes an empty text for none, so it is none here too.
fn prepared(row: Reader<'_>) -> Decoded<Option<Prepared>> {
    let Some(text) = row.text_if_any(s::PENDING)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let names = [s::PENDING, s::PENDING_SUB, s::PENDING_MILLIS];
    let checkpoint = parse_checkpoint(row, text, names)?;
    let state = row.bytes_if_any(s::PENDING_STATE)?.unwrap_or_default();
    Ok(Some(Prepared { checkpoint, state: Bytes::copy_from_slice(state) }))
}

/// `names` are those of the text itself, of the subsequence number and of the time.
fn parse_checkpoint(row: Reader<'_>, text: &str, names: [&str; 3]) -> Decoded<Checkpoint> {
    let [name, sub, millis] = names;
    Ok(match text {
        s::TRIM_HORIZON => Checkpoint::TrimHorizon,
        s::LATEST => Checkpoint::Latest,
        s::SHARD_END => Checkpoint::ShardEnd,
        s::AT_TIMESTAMP => Checkpoint::AtTimestamp(row.number(millis)?),
        digits => Checkpoint::At(Position {
            sequence: digits.parse().map_err(|error| format!("{name}: {error}"))?,
            subsequence: row.number_if_any(sub)?.unwrap_or(0),
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
    let if_any = if_any.into_iter().chain(prepared_attributes(lease.prepared.as_ref()));
    let present = if_any.filter_map(|(name, value)| value.map(|value| (name, value)));
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
        fence: Fence(row.count(s::LEASE_COUNTER)?),
        ordinal: Ordinal(row.count_if_any(s::ORDINAL)?.unwrap_or(0)),
        checkpoint: checkpoint(row)?,
        prepared: prepared(row)?,
        parents: row.shards(s::PARENTS)?,
        children: row.shards(s::CHILDREN)?,
        range,
        parked,
        owner_switches: row.count(s::OWNER_SWITCHES)?,
        unlisted_since_millis: row.number_if_any(s::UNLISTED_SINCE)?,
    })
}
