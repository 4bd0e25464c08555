//! Putting an aggregate together.

use std::collections::HashMap;
use std::hash::Hash;

use bytes::{BufMut, Bytes, BytesMut};
use kcl_core::PartitionKey;
use md5::{Digest, Md5};
use prost::{encode_length_delimiter, length_delimiter_len};

use super::wire::{DATA, ENTRY, HASH_KEY, HASH_KEY_INDEX, KEY_INDEX, PARTITION_KEY};
use super::{DIGEST_BYTES, MAGIC};

/// Collects records for one aggregate, and knows at every moment how large it would be.
///
/// ```
/// use kcl_records::AggregateBuilder;
///
/// let mut aggregate = AggregateBuilder::new();
/// for number in 0..1000 {
///     let (key, data) = (format!("order-{number}").into(), b"two apples");
///     if aggregate.len_with(&key, None, data.len()) > 1024 {
///         break;
///     }
///     aggregate.push(&key, None, data);
/// }
/// let expected = aggregate.encoded_len();
/// let record = aggregate.finish();
/// assert_eq!((record.len(), record.len() <= 1024), (expected, true));
/// ```
///
/// The caller decides what becomes of a single record: an aggregate of one is whole, but a plain
/// record is smaller. It also gives the stream's record its key: any whose hash lies in the shard
/// meant, usually the first record's key together with its [hash key](crate::hash_key) as the
/// explicit one, because readers drop sub-records whose hash is outside of the shard's range.
#[derive(Clone, Debug, Default)]
pub struct AggregateBuilder {
    keys: Table<PartitionKey>,
    hash_keys: Table<u128>,
    entries: BytesMut,
    count: usize,
}

/// Keys that records refer to by number, each once.
#[derive(Clone)]
struct Table<K> {
    index: HashMap<K, usize>,
    encoded: BytesMut,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { index: HashMap::new(), encoded: BytesMut::new() }
    }
}

impl<K> std::fmt::Debug for Table<K> {
    /// Leaves the keys out: they do not belong in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({} keys)", self.index.len())
    }
}

impl<K: Hash + Eq + Clone> Table<K> {
    /// The number of a key, and the bytes it would add if it is new.
    fn find(&self, key: &K, text_len: usize) -> (usize, usize) {
        match self.index.get(key) {
            Some(at) => (*at, 0),
            None => (self.index.len(), field_len(text_len)),
        }
    }

    fn add(&mut self, tag: u8, key: &K, text: &str) -> usize {
        if let Some(at) = self.index.get(key) {
            return *at;
        }
        let at = self.index.len();
        put_bytes(&mut self.encoded, tag, text.as_bytes());
        self.index.insert(key.clone(), at);
        at
    }

    fn clear(&mut self) {
        self.index.clear();
        self.encoded.clear();
    }
}

impl AggregateBuilder {
    /// Of no record yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records it holds.
    pub fn count(&self) -> usize {
        self.count
    }
    /// True without a record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the aggregate as it stands.
    pub fn encoded_len(&self) -> usize {
        let tables = self.keys.encoded.len() + self.hash_keys.encoded.len();
        MAGIC.len() + tables + self.entries.len() + DIGEST_BYTES
    }

    /// Bytes of the aggregate once such a record were pushed; exact.
    pub fn len_with(
        &self,
        key: &PartitionKey,
        explicit_hash_key: Option<u128>,
        data_len: usize,
    ) -> usize {
        let (key_at, key_len) = self.keys.find(key, key.as_str().len());
        let found = explicit_hash_key.map(|hash| self.hash_keys.find(&hash, digits(hash)));
        let (hash_at, hash_len) = found.unzip();
        let entry = field_len(entry_len(key_at, hash_at, data_len));
        self.encoded_len() + key_len + hash_len.unwrap_or(0) + entry
    }

    /// Adds a record. Copies the data.
    pub fn push(&mut self, key: &PartitionKey, explicit_hash_key: Option<u128>, data: &[u8]) {
        let key_at = self.keys.add(PARTITION_KEY, key, key.as_str());
        let hash_at =
            explicit_hash_key.map(|hash| self.hash_keys.add(HASH_KEY, &hash, &hash.to_string()));
        let entries = &mut self.entries;
        put_number(entries, ENTRY, entry_len(key_at, hash_at, data.len()));
        put_number(entries, KEY_INDEX, key_at);
        if let Some(hash_at) = hash_at {
            put_number(entries, HASH_KEY_INDEX, hash_at);
        }
        put_bytes(entries, DATA, data);
        self.count += 1;
    }

    /// The aggregate; the builder is empty again, with its memory kept for the next one.
    pub fn finish(&mut self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.encoded_len());
        whole.put_slice(&MAGIC);
        for part in [&self.keys.encoded, &self.hash_keys.encoded, &self.entries] {
            whole.put_slice(part);
        }
        let digest = Md5::digest(&whole[MAGIC.len()..]);
        whole.put_slice(&digest);
        self.clear();
        whole.freeze()
    }

    /// Forgets what was pushed.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.hash_keys.clear();
        self.entries.clear();
        self.count = 0;
    }
}

fn entry_len(key_at: usize, hash_at: Option<usize>, data_len: usize) -> usize {
    let hash = hash_at.map_or(0, |at| 1 + length_delimiter_len(at));
    1 + length_delimiter_len(key_at) + hash + field_len(data_len)
}

/// A field with its tag and its length before it.
fn field_len(content: usize) -> usize {
    1 + length_delimiter_len(content) + content
}

fn put_number(into: &mut BytesMut, tag: u8, number: usize) {
    into.put_u8(tag);
    into.reserve(length_delimiter_len(number));
    // Fails only without room, and a buffer that grows has it.
    let _ = encode_length_delimiter(number, into);
}

fn put_bytes(into: &mut BytesMut, tag: u8, bytes: &[u8]) {
    put_number(into, tag, bytes.len());
    into.put_slice(bytes);
}

fn digits(number: u128) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}
