//! PutRecord and PutRecords.

use std::borrow::Cow;

use bytes::Bytes;
use kcl_stream_local::{PutError, PutReceipt, RecordRef};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::dispatch::Answer;
use crate::error::ApiError;
use crate::limits::{ACCOUNT, LARGEST_DATA, RECORDS_PUT};
use crate::model::{Form, Shape};
use crate::out::Out;
use crate::state::{Distribution, State};
use crate::validate::{Tree, refusal};
use crate::wire::{Blob, Format, Text};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutRecord<'a> {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(borrow)]
    data: Option<Blob<'a>>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
    sequence_number_for_ordering: Option<String>,
    stream_id: Option<String>,
    dry_run: Option<bool>,
}

pub(crate) struct Put {
    receipt: PutReceipt,
    encryption: &'static str,
}

impl Answer for Put {
    fn write(self, format: Format) -> Result<Bytes, ApiError> {
        let mut out = Out::new(format, 256);
        out.open(3);
        write_receipt(&mut out, &self.receipt);
        out.name("EncryptionType");
        out.plain(self.encryption);
        out.close();
        Ok(out.finish())
    }
}

fn write_receipt(out: &mut Out, receipt: &PutReceipt) {
    out.name("SequenceNumber");
    out.shown(receipt.sequence);
    out.name("ShardId");
    out.shown(receipt.shard);
}

/// Where a member is of a record of many, counted from 1, or of the only one.
#[derive(Clone, Copy)]
struct Place(Option<usize>);

impl Place {
    fn of(self, member: &str) -> String {
        match self.0 {
            None => member.to_owned(),
            Some(number) => format!("records.{number}.member.{member}"),
        }
    }
}

/// The key of a record, and what picks its shard in place of it.
fn keys<'a>(
    place: Place,
    key: &'a Option<Text<'_>>,
    hash_key: &Option<Text<'_>>,
    distribution: Distribution,
) -> Result<(Cow<'a, str>, Option<u128>), ApiError> {
    let key = key.as_ref().map(|Text(key)| &**key);
    let is_long = |key: &str| key.len() > 256 && key.chars().count() > 256;
    if distribution == Distribution::Auto {
        // Wherever the service likes: a random place is even enough. The first of a random id's
        // bits are random; the lower ones do not matter.
        let anywhere = uuid::Uuid::new_v4();
        let key = key.filter(|key| !key.is_empty() && !is_long(key));
        let key = key.map_or_else(|| anywhere.to_string().into(), Cow::from);
        return Ok((key, Some(anywhere.as_u128())));
    }
    let key = key.ok_or_else(|| ApiError::missing(&place.of("partitionKey")))?;
    if key.is_empty() || is_long(key) {
        let shape = Shape::Text(1, 256, Form::Any);
        let member = place.of("partitionKey");
        let refused = refusal(&member, &Tree::Text(key.to_owned()), &shape);
        return Err(refused.unwrap_or_else(|| ApiError::missing(&member)));
    }
    let Some(Text(text)) = hash_key else { return Ok((key.into(), None)) };
    if !Form::HashKey.matches(text) {
        let shape = Shape::Text(1, 39, Form::HashKey);
        let member = place.of("explicitHashKey");
        let refused = refusal(&member, &Tree::Text(text.to_string()), &shape);
        return Err(refused.unwrap_or_else(|| ApiError::missing(&member)));
    }
    let hash_key = text.parse().map_err(|_| {
        ApiError::invalid_argument(format!(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
             Specified value was {text}"
        ))
    })?;
    Ok((key.into(), Some(hash_key)))
}

fn check_data(place: Place, bytes: usize) -> Result<(), ApiError> {
    if bytes <= LARGEST_DATA {
        return Ok(());
    }
    let shape = Shape::Blob(LARGEST_DATA);
    let member = place.of("data");
    let refused = refusal(&member, &Tree::Bytes(bytes), &shape);
    Err(refused.unwrap_or_else(|| ApiError::missing(&member)))
}

pub(crate) fn one(state: &State, request: PutRecord<'_>) -> Result<Put, ApiError> {
    let name = state.named(
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
        request.stream_id.as_deref(),
    )?;
    if let Some(order) = request.sequence_number_for_ordering {
        let shape = Shape::Text(1, 129, Form::Sequence);
        let refused = refusal("sequenceNumberForOrdering", &Tree::Text(order), &shape);
        refused.map_or(Ok(()), Err)?;
    }
    let (distribution, encryption) = state.record_settings(&name);
    let place = Place(None);
    let data = request.data.as_ref().ok_or_else(|| ApiError::missing("data"))?;
    let mut room = Vec::with_capacity(data.room());
    let data = data.decode(&mut room)?;
    let data = data.in_room(&room);
    check_data(place, data.len())?;
    let keys = keys(place, &request.partition_key, &request.explicit_hash_key, distribution)?;
    let (key, explicit_hash_key) = keys;
    let stream = state.readable(&name)?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let record = RecordRef { partition_key: &key, data, explicit_hash_key };
    Ok(Put { receipt: stream.put_ref(record)?, encryption })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutRecords<'a> {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(borrow)]
    records: Option<Entries<'a>>,
    stream_id: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow)]
    data: Option<Blob<'a>>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
}

/// The records of a request, of which no more are held than one may have: an empty one takes a
/// hundred bytes here, and three on the wire.
struct Entries<'a> {
    held: Vec<Entry<'a>>,
    count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a sequence")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Entries<'de>, A::Error> {
        let mut held = Vec::new();
        while held.len() < RECORDS_PUT {
            match from.next_element()? {
                Some(entry) => held.push(entry),
                None => return Ok(Entries { count: held.len(), held }),
            }
        }
        let mut count = held.len();
        while from.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Entries { held, count })
    }
}

pub(crate) struct PutMany {
    stream: String,
    results: Vec<Result<PutReceipt, PutError>>,
    encryption: &'static str,
}

impl Answer for PutMany {
    fn write(self, format: Format) -> Result<Bytes, ApiError> {
        let mut out = Out::new(format, 128 * (1 + self.results.len()));
        out.open(3);
        out.name("FailedRecordCount");
        out.whole(self.results.iter().filter(|result| result.is_err()).count() as u64);
        out.name("EncryptionType");
        out.plain(self.encryption);
        out.name("Records");
        out.open_list(self.results.len());
        for result in &self.results {
            out.item();
            out.open(2);
            match result {
                Ok(receipt) => write_receipt(&mut out, receipt),
                Err(error) => {
                    let (code, message) = told(&self.stream, error);
                    out.name("ErrorCode");
                    out.plain(code);
                    out.name("ErrorMessage");
                    out.text(&message);
                }
            }
            out.close();
        }
        out.close_list();
        out.close();
        Ok(out.finish())
    }
}

pub(crate) fn many(state: &State, request: PutRecords<'_>) -> Result<PutMany, ApiError> {
    let name = state.named(
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
        request.stream_id.as_deref(),
    )?;
    let (distribution, encryption) = state.record_settings(&name);
    let entries = request.records.ok_or_else(|| ApiError::missing("records"))?;
    let Entries { held: entries, count } = entries;
    if !(1..=RECORDS_PUT).contains(&count) {
        let rule = match count {
            0 => "Member must have length greater than or equal to 1",
            _ => "Member must have length less than or equal to 500",
        };
        return Err(ApiError::validation("records", &format!("[{count} entries]"), rule));
    }
    let room = entries.iter().filter_map(|entry| entry.data.as_ref()).map(Blob::room).sum();
    let mut room = Vec::with_capacity(room);
    let mut read = Vec::with_capacity(entries.len());
    for (number, entry) in (1..).zip(&entries) {
        let place = Place(Some(number));
        let data = entry.data.as_ref().ok_or_else(|| ApiError::missing(&place.of("data")))?;
        let data = data.decode(&mut room)?;
        let keys = keys(place, &entry.partition_key, &entry.explicit_hash_key, distribution)?;
        read.push((data, keys));
    }
    let mut records = Vec::with_capacity(read.len());
    for (number, (data, (key, explicit_hash_key))) in (1..).zip(&read) {
        let data = data.in_room(&room);
        check_data(Place(Some(number)), data.len())?;
        let explicit_hash_key = *explicit_hash_key;
        records.push(RecordRef { partition_key: key, data, explicit_hash_key });
    }
    let stream = state.readable(&name)?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let results = stream.put_many_refs(&records)?.results;
    Ok(PutMany { stream: name, results, encryption })
}

/// Code and message of a record that was not taken.
fn told(stream: &str, error: &PutError) -> (&'static str, Cow<'static, str>) {
    match error {
        PutError::Throttled { shard, .. } => {
            let message = format!(
                "Rate exceeded for shard {shard} in stream {stream} under account {ACCOUNT}."
            );
            ("ProvisionedThroughputExceededException", message.into())
        }
        PutError::StreamFull { .. } => ("InternalFailure", error.to_string().into()),
        PutError::Stopped { .. } => ("InternalFailure", "Internal Service Failure".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_records_are_held_than_a_put_may_have() {
        let json = |count: usize| format!("{{\"Records\":[{}]}}", vec!["{}"; count].join(","));
        let cbor = |count: usize| {
            let head = [&b"\xa1\x67Records\x9b"[..], &(count as u64).to_be_bytes()].concat();
            [head, vec![0xa0; count]].concat()
        };
        for (count, held) in [(0, 0), (499, 499), (500, 500), (501, 500), (200_000, 500)] {
            for (format, body) in
                [(Format::Json, json(count).into_bytes()), (Format::Cbor, cbor(count))]
            {
                let read: PutRecords<'_> = format.read(&body).unwrap();
                let records = read.records.unwrap();
                assert_eq!((records.held.len(), records.count), (held, count), "{format:?}");
            }
        }
    }
}
