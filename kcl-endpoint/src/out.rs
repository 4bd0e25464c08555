//! Writes the answers that carry records, member by member, in either encoding: what is written
//! once a record is not worth a tree of values.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::wire::Format;

/// An answer being written. Structures and lists are opened with their number of members and
/// closed; a name comes before each value of a structure, `item` before each of a list.
pub(crate) struct Out {
    format: Format,
    bytes: Vec<u8>,
}

impl Out {
    pub fn new(format: Format, capacity: usize) -> Self {
        Self { format, bytes: Vec::with_capacity(capacity) }
    }

    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }

    /// The head of a CBOR value: its kind, and a number.
    fn head(&mut self, kind: u8, number: u64) {
        let kind = kind << 5;
        match number {
            0..24 => self.bytes.push(kind | number as u8),
            24..0x100 => self.bytes.extend([kind | 24, number as u8]),
            0x100..0x1_0000 => {
                self.bytes.push(kind | 25);
                self.bytes.extend((number as u16).to_be_bytes());
            }
            0x1_0000..0x1_0000_0000 => {
                self.bytes.push(kind | 26);
                self.bytes.extend((number as u32).to_be_bytes());
            }
            _ => {
                self.bytes.push(kind | 27);
                self.bytes.extend(number.to_be_bytes());
            }
        }
    }

    fn begin(&mut self, json: u8, cbor: u8, count: usize) {
        match self.format {
            Format::Json => self.bytes.push(json),
            Format::Cbor => self.head(cbor, count as u64),
        }
    }
    pub fn open(&mut self, members: usize) {
        self.begin(b'{', 5, members);
    }
    pub fn close(&mut self) {
        if self.format == Format::Json {
            self.bytes.push(b'}');
        }
    }
    pub fn open_list(&mut self, items: usize) {
        self.begin(b'[', 4, items);
    }
    pub fn close_list(&mut self) {
        if self.format == Format::Json {
            self.bytes.push(b']');
        }
    }
    pub fn item(&mut self) {
        // A value never ends in an opening bracket.
        if self.format == Format::Json && !matches!(self.bytes.last(), Some(b'[' | b'{')) {
            self.bytes.push(b',');
        }
    }
    /// The name of the member that follows: one of ours, so that nothing in it is escaped.
    pub fn name(&mut self, name: &str) {
        self.item();
        self.plain(name);
        if self.format == Format::Json {
            self.bytes.push(b':');
        }
    }
    /// A text without anything to escape.
    pub fn plain(&mut self, text: &str) {
        match self.format {
            Format::Json => {
                self.bytes.push(b'"');
                self.bytes.extend_from_slice(text.as_bytes());
                self.bytes.push(b'"');
            }
            Format::Cbor => {
                self.head(3, text.len() as u64);
                self.bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
    /// Any text.
    pub fn text(&mut self, text: &str) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if self.format == Format::Cbor || text.bytes().all(is_plain) {
            return self.plain(text);
        }
        // Writing into memory does not fail.
        let _ = serde_json::to_writer(&mut self.bytes, text);
    }
    /// What is shown as up to 64 plain characters.
    pub fn shown(&mut self, value: impl std::fmt::Display) {
        let mut room = [0u8; 64];
        let mut rest = &mut room[..];
        let _ = write!(rest, "{value}");
        let length = 64 - rest.len();
        self.plain(std::str::from_utf8(&room[..length]).unwrap_or_default());
    }
    pub fn whole(&mut self, number: u64) {
        match self.format {
            Format::Json => {
                let _ = write!(self.bytes, "{number}");
            }
            Format::Cbor => self.head(0, number),
        }
    }
    /// A time (Unix milliseconds).
    pub fn time(&mut self, millis: u64) {
        match self.format {
            Format::Json => {
                let _ = write!(self.bytes, "{}.{:03}", millis / 1000, millis % 1000);
            }
            Format::Cbor => {
                self.head(6, 1);
                self.head(0, millis);
            }
        }
    }
    pub fn blob(&mut self, data: &[u8]) {
        if self.format == Format::Cbor {
            self.head(2, data.len() as u64);
            return self.bytes.extend_from_slice(data);
        }
        self.bytes.push(b'"');
        let start = self.bytes.len();
        self.bytes.resize(start + data.len().div_ceil(3) * 4, 0);
        // The room is what it needs.
        let _ = STANDARD.encode_slice(data, &mut self.bytes[start..]);
        self.bytes.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn write(format: Format, key: &str, data: &[u8], number: u64) -> Bytes {
        let mut out = Out::new(format, 0);
        out.open(4);
        out.name("Key");
        out.text(key);
        out.name("List");
        out.open_list(2);
        out.item();
        out.blob(data);
        out.item();
        out.open(0);
        out.close();
        out.close_list();
        out.name("Number");
        out.whole(number);
        out.name("Time");
        out.time(number >> 12);
        out.close();
        out.finish()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_by_other_libraries(
            key in ".{0,40}", data in prop::collection::vec(any::<u8>(), 0..300), number: u64,
        ) {
            let json_text = write(Format::Json, &key, &data, number);
            let read: Value = serde_json::from_slice(&json_text).unwrap();
            let time = read["Time"].as_f64().unwrap();
            prop_assert!((time * 1000.0 - (number >> 12) as f64).abs() < 1.0);
            prop_assert_eq!(&read["List"], &json!([STANDARD.encode(&data), {}]));
            prop_assert_eq!((&read["Key"], &read["Number"]), (&json!(key), &json!(number)));

            let cbor = write(Format::Cbor, &key, &data, number);
            let read: ciborium::Value = ciborium::from_reader(&cbor[..]).unwrap();
            let map = read.as_map().unwrap();
            prop_assert_eq!(map[0].1.as_text(), Some(&*key));
            prop_assert_eq!(map[1].1.as_array().unwrap()[0].as_bytes(), Some(&data));
            prop_assert_eq!(&map[2].1, &number.into());
            let time = ciborium::Value::Tag(1, Box::new((number >> 12).into()));
            prop_assert_eq!(&map[3].1, &time);
        }
    }
}
