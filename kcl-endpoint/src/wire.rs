//! The two encodings: JSON 1.1, and the CBOR dialect of AWS. One set of types serves both: blobs
//! are base64 in the one and bytes in the other, times seconds in the one and tagged milliseconds
//! in the other.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ciborium::tag::Accepted;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cbor;
use crate::error::ApiError;
use crate::limits::DEPTH;
use crate::validate::Tree;

/// How a request is written, and its answer too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Cbor,
}

const JSON: &str = "application/x-amz-json-1.1";
const CBOR: &str = "application/x-amz-cbor-1.1";
/// The major type of a map (RFC 8949, section 3.1).
const CBOR_MAP: u8 = 5;

impl Format {
    /// Of a content type.
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or("").trim() {
            JSON | "application/json" => Some(Self::Json),
            CBOR => Some(Self::Cbor),
            _ => None,
        }
    }
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Cbor => CBOR,
        }
    }

    pub fn read<'a, T: Deserialize<'a>>(self, body: &'a [u8]) -> Result<T, ApiError> {
        match self {
            // A request without members may have no body at all.
            Self::Json if body.is_empty() => self.read(b"{}"),
            Self::Cbor if body.is_empty() => self.read(b"\xa0"),
            Self::Json => serde_json::from_slice(body)
                .map_err(|error| ApiError::serialization(error.to_string())),
            Self::Cbor => {
                cbor::read(body).map_err(|error| ApiError::serialization(error.to_string()))
            }
        }
    }

    /// Reads a request: a map of members. A list of their values is refused, which serde would take
    /// too: each reader of one body would find other members in it.
    pub fn request<'a, T: Deserialize<'a>>(self, body: &'a [u8]) -> Result<T, ApiError> {
        let is_map = match self {
            Self::Json => body.trim_ascii_start().first().is_none_or(|first| *first == b'{'),
            Self::Cbor => body.first().is_none_or(|first| first >> 5 == CBOR_MAP),
        };
        match is_map {
            true => self.read(body),
            false => Err(ApiError::serialization("a request is a map of members")),
        }
    }

    /// Refuses values within values beyond what any request needs; reading CBOR does so itself.
    pub fn check_depth(self, body: &[u8]) -> Result<(), ApiError> {
        if self == Self::Cbor {
            return Ok(());
        }
        let mut nesting = Nesting::default();
        for chunk in body.chunks(32) {
            // Most of a large request is base64: looked through many bytes at once.
            let counts = |byte: u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b'[' | b']');
            let any = chunk.iter().fold(false, |any, byte| any | counts(*byte));
            if any || nesting.is_escaped {
                chunk.iter().for_each(|byte| nesting.pass(*byte));
            }
            if nesting.deepest > DEPTH {
                let what = format!("values are nested more than {DEPTH} deep");
                return Err(ApiError::serialization(what));
            }
        }
        Ok(())
    }

    /// A request as a tree of values, to be held against the model.
    pub fn tree(self, body: &[u8]) -> Result<Tree, ApiError> {
        self.read(body)
    }

    pub fn write<T: Serialize>(self, value: &T) -> Result<Bytes, ApiError> {
        let failed = |error: String| ApiError::internal(format!("an answer: {error}"));
        match self {
            Self::Json => serde_json::to_vec(value)
                .map(Bytes::from)
                .map_err(|error| failed(error.to_string())),
            Self::Cbor => {
                let mut bytes = Vec::new();
                ciborium::into_writer(value, &mut bytes)
                    .map_err(|error| failed(error.to_string()))?;
                Ok(bytes.into())
            }
        }
    }
}

/// How deep brackets are within each other.
#[derive(Default)]
struct Nesting {
    depth: usize,
    deepest: usize,
    in_text: bool,
    is_escaped: bool,
}

impl Nesting {
    fn pass(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.in_text => self.is_escaped = true,
            b'"' => self.in_text = !self.in_text,
            b'{' | b'[' if !self.in_text => self.depth += 1,
            b'}' | b']' if !self.in_text => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.deepest = self.deepest.max(self.depth);
    }
}

/// A text of a request, as it lies there if nothing in it is escaped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(TextVisitor).map(Self)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(text.into())
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.to_owned().into())
    }
    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(text.into())
    }
}

/// Bytes of the user's, as they lie in the request: base64 in JSON.
#[derive(Debug)]
pub(crate) enum Blob<'a> {
    Base64(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl Blob<'_> {
    /// The bytes; those of base64 are put behind what is in `room`, where the place returned is
    /// theirs.
    pub fn decode(&self, room: &mut Vec<u8>) -> Result<Decoded<'_>, ApiError> {
        match self {
            Self::Bytes(bytes) => Ok(Decoded::Bytes(bytes)),
            Self::Base64(text) => {
                let start = room.len();
                STANDARD
                    .decode_vec(&**text, room)
                    .map_err(|error| ApiError::serialization(error.to_string()))?;
                Ok(Decoded::At(start..room.len()))
            }
        }
    }

    /// About how many bytes decoding puts into the room.
    pub fn room(&self) -> usize {
        match self {
            Self::Bytes(_) => 0,
            Self::Base64(text) => text.len().div_ceil(4) * 3,
        }
    }
}

/// Where decoded bytes are.
#[derive(Debug)]
pub(crate) enum Decoded<'a> {
    Bytes(&'a [u8]),
    At(Range<usize>),
}

impl<'a> Decoded<'a> {
    pub fn in_room(&self, room: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::At(place) => &room[place.clone()],
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Blob<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return Text::deserialize(from).map(|Text(text)| Self::Base64(text));
        }
        from.deserialize_bytes(BytesVisitor).map(Self::Bytes)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }
    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(bytes.into())
    }
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(bytes.to_vec().into())
    }
    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
        Ok(bytes.into())
    }
}

/// A time (Unix milliseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub u64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.serialize_f64(self.0 as f64 / 1000.0)
        } else {
            Accepted::<u64, 1>(self.0).serialize(to)
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let is_json = from.is_human_readable();
        let millis = if is_json {
            f64::deserialize(from)? * 1000.0
        } else {
            match Number::deserialize(from)? {
                Number::Whole(millis) => millis as f64,
                Number::Broken(millis) => millis,
            }
        };
        if !(0.0..=9e15).contains(&millis) {
            return Err(D::Error::custom("a timestamp out of range"));
        }
        Ok(Self(millis.round() as u64))
    }
}

/// Clients write whole milliseconds, and some write them as floats.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(u64),
    Broken(f64),
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
