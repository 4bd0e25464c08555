//! What a stream must still hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;
use kcl_core::protocol::SequenceNumber;

use crate::server::STREAM;

#[derive(Default)]
pub struct Ledger(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    /// Text of each record by shard and number.
    records: BTreeMap<(String, SequenceNumber), String>,
    closed: BTreeSet<String>,
}

impl Ledger {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record was acknowledged, or read.
    pub fn note(&self, shard: &str, number: &str, text: &str) {
        let place = (shard.to_owned(), number.parse().unwrap());
        let before = self.noted().records.insert(place, text.to_owned());
        assert!(before.is_none_or(|before| before == text), "{number} was given out twice");
    }

    /// A shard was closed.
    pub fn closed(&self, shard: &str) {
        self.noted().closed.insert(shard.to_owned());
    }

    pub fn acknowledged(&self) -> u64 {
        self.noted().records.len() as u64
    }

    pub fn summary(&self) -> String {
        let noted = self.noted();
        format!("{} records and {} ended shards kept", noted.records.len(), noted.closed.len())
    }

    /// Reads everything back.
    pub async fn compare(&self, client: &Client) {
        let listed = client.list_shards().stream_name(STREAM).send().await.unwrap();
        let mut found = BTreeMap::new();
        let mut open = BTreeSet::new();
        for shard in listed.shards() {
            let id = shard.shard_id();
            if shard.sequence_number_range().unwrap().ending_sequence_number().is_none() {
                open.insert(id.to_owned());
            }
            let records = drain(client, id).await;
            assert!(records.is_sorted_by(|one, next| one.0 < next.0), "{id} is out of order");
            in_the_order_of_each_writer(id, &records);
            found.extend(records.into_iter().map(|(n, text)| ((id.to_owned(), n), text)));
        }
        let texts: BTreeSet<_> = found.values().collect();
        assert_eq!(texts.len(), found.len(), "a record is there twice");
        let noted = self.noted();
        for (place, text) in &noted.records {
            assert_eq!(found.get(place), Some(text), "lost: {place:?}");
        }
        let reopened: Vec<_> = noted.closed.intersection(&open).collect();
        assert!(reopened.is_empty(), "open again: {reopened:?}");
    }
}

/// Records of one writer were put one after the other.
fn in_the_order_of_each_writer(shard: &str, records: &[(SequenceNumber, String)]) {
    let mut last = BTreeMap::new();
    for (_, text) in records {
        let (writer, number) = text.split_once(':').unwrap();
        let number: u64 = number.parse().unwrap();
        let before = last.insert(writer, number);
        assert!(before.is_none_or(|before| before < number), "{shard}: {text} after {before:?}");
    }
}

async fn drain(client: &Client, shard: &str) -> Vec<(SequenceNumber, String)> {
    let from = client.get_shard_iterator().stream_name(STREAM).shard_id(shard);
    let from = from.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
    let mut next = from.shard_iterator;
    let mut records = Vec::new();
    while let Some(iterator) = next {
        let got = client.get_records().shard_iterator(iterator).send().await.unwrap();
        let of = |record: &aws_sdk_kinesis::types::Record| {
            let text = String::from_utf8(record.data().as_ref().to_vec()).unwrap();
            (record.sequence_number().parse().unwrap(), text)
        };
        records.extend(got.records().iter().map(of));
        next = got.next_shard_iterator.filter(|_| !got.records.is_empty());
    }
    records
}
