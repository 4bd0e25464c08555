//! Rows of the coordination table to and from items: the table row, stream rows, worker rows.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use kcl_protocol::{
    EntryId, Fence, HeldDigest, InboxEntry, LeaseKey, Reads, Row, ShardId, StreamName, StreamRow,
    StreamStart, StreamTag, TableRow, WorkerId, WorkerRow, WorkerState,
};

use crate::attributes::{Decoded, Item, Reader, hex, nanos, number, text};
use crate::codec::{parse_position, position_text};
use crate::schema as s;

fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn encode_table(row: &TableRow) -> Item {
    item([
        (s::ROW_KEY, text(s::TABLE)),
        (s::ENTITY_TYPE, text(s::TABLE)),
        (s::TABLE_ID, text(&row.table_id)),
        (s::GENERATION, number(row.generation)),
        (s::SCHEMA_VERSION, number(row.schema)),
        (s::MAX_DURATION, nanos(row.max_duration)),
        (s::MAX_GRACE, nanos(row.max_grace)),
        (s::RESETTING, AttributeValue::Bool(row.resetting)),
        (s::ROUND, number(row.round)),
        (s::HINT_KEY, text(format!("{:032x}", row.hint_key))),
    ])
}

/// One whose fences are counts.
fn generation(row: Reader<'_>) -> Decoded<u64> {
    let generation = row.count(s::GENERATION)?;
    let fits = generation <= i64::MAX as u64 / Fence::PER_GENERATION;
    let said = || format!("{} is {generation}, which is out of range", s::GENERATION);
    fits.then_some(generation).ok_or_else(said)
}

fn decode_table(row: Reader<'_>) -> Decoded<TableRow> {
    Ok(TableRow {
        table_id: row.text(s::TABLE_ID)?.to_owned(),
        generation: generation(row)?,
        schema: row.number(s::SCHEMA_VERSION)?,
        max_duration: row.duration(s::MAX_DURATION)?,
        max_grace: row.duration(s::MAX_GRACE)?,
        resetting: row.flag_if_any(s::RESETTING)?,
        round: row.count(s::ROUND)?,
        hint_key: hex(row.text(s::HINT_KEY)?, s::HINT_KEY)?,
    })
}

pub(crate) fn encode_stream(row: &StreamRow) -> Item {
    let mut item = item([
        (s::ROW_KEY, text(format!("{}{}", s::STREAM_PREFIX, row.name))),
        (s::ENTITY_TYPE, text(s::ENTITY_STREAM)),
        (s::CREATED_AT, number(row.created_at_millis)),
        (s::FIRST_SYNC_DONE, AttributeValue::Bool(row.first_sync_done)),
    ]);
    let start = match &row.start {
        StreamStart::TrimHorizon => s::TRIM_HORIZON,
        StreamStart::AtTimestamp(millis) => {
            item.insert(s::START_MILLIS.to_owned(), number(*millis));
            s::AT_TIMESTAMP
        }
        StreamStart::After(positions) => {
            let after = positions
                .iter()
                .map(|(shard, at)| (shard.to_string(), text(position_text(*at))))
                .collect();
            item.insert(s::START_AFTER.to_owned(), AttributeValue::M(after));
            s::AFTER
        }
    };
    item.insert(s::START.to_owned(), text(start));
    item
}

fn decode_stream(row: Reader<'_>, name: &str) -> Decoded<StreamRow> {
    let start = match row.text(s::START)? {
        s::TRIM_HORIZON => StreamStart::TrimHorizon,
        s::AT_TIMESTAMP => StreamStart::AtTimestamp(row.number(s::START_MILLIS)?),
        s::AFTER => {
            let positions = Reader(row.map(s::START_AFTER)?);
            let position = |shard: &String| {
                let at = parse_position(positions.text(shard)?, s::START_AFTER)?;
                Ok((ShardId::new(shard), at))
            };
            StreamStart::After(positions.0.keys().map(position).collect::<Decoded<_>>()?)
        }
        other => return Err(format!("{} is {other:?}, which is unknown", s::START)),
    };
    Ok(StreamRow {
        name: StreamName::new(name),
        created_at_millis: row.number(s::CREATED_AT)?,
        start,
        first_sync_done: row.flag(s::FIRST_SYNC_DONE)?,
    })
}

pub(crate) fn state_text(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Live => "LIVE",
        WorkerState::Missing => "MISSING",
        WorkerState::Fenced => "FENCED",
        WorkerState::Gone => "GONE",
    }
}

fn parse_state(text: &str) -> Decoded<WorkerState> {
    [WorkerState::Live, WorkerState::Missing, WorkerState::Fenced, WorkerState::Gone]
        .into_iter()
        .find(|state| state_text(*state) == text)
        .ok_or_else(|| format!("{} is {text:?}, which is unknown", s::WORKER_STATE))
}

/// The tags of the streams, or nothing in an application of one.
pub(crate) fn reads_text(reads: &Reads) -> Option<String> {
    match reads {
        Reads::TheOne => None,
        Reads::Streams(tags) => {
            let tags: Vec<_> = tags.iter().map(|tag| format!("{:016x}", tag.0)).collect();
            Some(tags.join(","))
        }
    }
}

fn parse_reads(row: Reader<'_>) -> Decoded<Reads> {
    let Some(list) = row.text_if_any(s::READS)? else { return Ok(Reads::TheOne) };
    let tag = |digits: &str| {
        let is_tag = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let tag = is_tag.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
        tag.map(StreamTag).ok_or_else(|| format!("{} holds {digits:?}", s::READS))
    };
    let tags = list.split(',').filter(|_| !list.is_empty()).map(tag);
    tags.collect::<Decoded<_>>().map(Reads::Streams)
}

pub(crate) fn encode_worker(row: &WorkerRow) -> Item {
    let inbox = row.inbox.iter().map(|(id, entry)| (id.to_string(), encode_entry(entry)));
    let mut item = item([
        (s::ROW_KEY, text(format!("{}{}", s::WORKER_PREFIX, row.id))),
        (s::ENTITY_TYPE, text(s::ENTITY_WORKER)),
        (s::HEARTBEAT, number(row.heartbeat)),
        (s::WORKER_STATE, text(state_text(row.state))),
        (s::DRAINING, AttributeValue::Bool(row.draining)),
        (s::DURATION, nanos(row.duration)),
        (s::GRACE, nanos(row.grace)),
        (s::LOAD, number(row.load)),
        (s::HELD_COUNT, number(row.digest.count)),
        (s::HELD_HASHES, number(row.digest.hashes)),
        (s::INBOX, AttributeValue::M(inbox.collect())),
        (s::LIST, AttributeValue::Bool(row.list)),
    ]);
    if row.max_leases < u32::MAX {
        item.insert(s::MAX_LEASES.to_owned(), number(row.max_leases));
    }
    if let Some(reads) = reads_text(&row.reads) {
        item.insert(s::READS.to_owned(), text(reads));
    }
    if let Some(address) = &row.address {
        item.insert(s::ADDRESS.to_owned(), text(address));
    }
    item
}

fn decode_worker(row: Reader<'_>, id: &str) -> Decoded<WorkerRow> {
    Ok(WorkerRow {
        id: WorkerId::new(id),
        heartbeat: row.count(s::HEARTBEAT)?,
        state: parse_state(row.text(s::WORKER_STATE)?)?,
        draining: row.flag(s::DRAINING)?,
        duration: row.duration(s::DURATION)?,
        grace: row.duration(s::GRACE)?,
        load: row.number(s::LOAD)?,
        max_leases: row.number_if_any(s::MAX_LEASES)?.unwrap_or(u32::MAX),
        reads: parse_reads(row)?,
        digest: HeldDigest {
            count: row.number(s::HELD_COUNT)?,
            hashes: row.number(s::HELD_HASHES)?,
        },
        inbox: decode_inbox(row)?,
        list: row.flag(s::LIST)?,
        address: row.text_if_any(s::ADDRESS)?.map(str::to_owned),
    })
}

fn decode_inbox(row: Reader<'_>) -> Decoded<BTreeMap<EntryId, InboxEntry>> {
    let inbox = Reader(row.map(s::INBOX)?);
    let entry = |id: &String| {
        let entry =
            decode_entry(Reader(inbox.map(id)?)).map_err(|why| format!("inbox {id}: {why}"));
        Ok((EntryId(hex(id, s::INBOX)?), entry?))
    };
    inbox.0.keys().map(entry).collect()
}

fn encode_leases(leases: &[(LeaseKey, Fence)]) -> AttributeValue {
    let lease = |(key, fence): &(LeaseKey, Fence)| {
        let lease = [(s::LEASE_KEY, text(key)), (s::LEASE_COUNTER, number(fence.0))];
        AttributeValue::M(item(lease))
    };
    AttributeValue::L(leases.iter().map(lease).collect())
}

fn decode_leases(entry: Reader<'_>) -> Decoded<Vec<(LeaseKey, Fence)>> {
    let lease = |value: &AttributeValue| {
        let AttributeValue::M(lease) = value else {
            return Err(format!("{} holds something that is not M", s::ENTRY_LEASES));
        };
        let lease = Reader(lease);
        Ok((LeaseKey::new(lease.text(s::LEASE_KEY)?), Fence(lease.count(s::LEASE_COUNTER)?)))
    };
    entry.list(s::ENTRY_LEASES)?.iter().map(lease).collect()
}

pub(crate) fn encode_entry(entry: &InboxEntry) -> AttributeValue {
    AttributeValue::M(match entry {
        InboxEntry::Ask { leases, to, have } => item([
            (s::ENTRY_KIND, text("ASK")),
            (s::ENTRY_LEASES, encode_leases(leases)),
            (s::ENTRY_TO, text(to)),
            (s::ENTRY_HAVE, number(*have)),
        ]),
        InboxEntry::Revoke { lease, fence, to } => item([
            (s::ENTRY_KIND, text("REVOKE")),
            (s::ENTRY_LEASES, encode_leases(&[(lease.clone(), *fence)])),
            (s::ENTRY_TO, text(to)),
        ]),
        InboxEntry::Grant { leases } => {
            item([(s::ENTRY_KIND, text("GRANT")), (s::ENTRY_LEASES, encode_leases(leases))])
        }
    })
}

fn decode_entry(entry: Reader<'_>) -> Decoded<InboxEntry> {
    let mut leases = decode_leases(entry)?;
    let to = || entry.text(s::ENTRY_TO).map(WorkerId::new);
    match entry.text(s::ENTRY_KIND)? {
        "ASK" => Ok(InboxEntry::Ask { leases, to: to()?, have: entry.number(s::ENTRY_HAVE)? }),
        "REVOKE" => match (leases.pop(), leases.is_empty()) {
            (Some((lease, fence)), true) => Ok(InboxEntry::Revoke { lease, fence, to: to()? }),
            _ => Err("a REVOKE names one lease".into()),
        },
        "GRANT" => Ok(InboxEntry::Grant { leases }),
        other => Err(format!("{} is {other:?}, which is unknown", s::ENTRY_KIND)),
    }
}

/// Any row of the coordination table, by its key.
pub(crate) fn decode_coordination(item: &Item) -> Decoded<Row> {
    let row = Reader(item);
    let (key, kind) = (row.text(s::ROW_KEY)?, row.text(s::ENTITY_TYPE)?);
    let typed = |wanted: &str| {
        let matches = kind == wanted;
        matches.then_some(()).ok_or_else(|| format!("{} is {kind:?}", s::ENTITY_TYPE))
    };
    if key == s::TABLE {
        typed(s::TABLE)?;
        decode_table(row).map(Row::Table)
    } else if let Some(name) = key.strip_prefix(s::STREAM_PREFIX) {
        typed(s::ENTITY_STREAM)?;
        decode_stream(row, name).map(Row::Stream)
    } else if let Some(id) = key.strip_prefix(s::WORKER_PREFIX) {
        typed(s::ENTITY_WORKER)?;
        decode_worker(row, id).map(Row::Worker)
    } else {
        Err("the key is neither TABLE nor starts with STREAM# or WORKER#".into())
    }
}
