//! The two encodings: JSON 1.1, and the CBOR dialect of AWS. One set of types serves both: blobs
//! are base64 in the one and bytes in the other, times seconds in the one and tagged milliseconds
//! in the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ciborium::tag::Accepted;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

    pub fn read<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, ApiError> {
        match self {
            // A request without members may have no body at all.
            Self::Json if body.is_empty() => self.read(b"{}"),
            Self::Cbor if body.is_empty() => self.read(b"\xa0"),
            Self::Json => serde_json::from_slice(body)
                .map_err(|error| ApiError::serialization(error.to_string())),
            Self::Cbor => ciborium::de::from_reader_with_recursion_limit(body, DEPTH)
                .map_err(|error| ApiError::serialization(error.to_string())),
        }
    }

    /// Refuses values within values beyond what any request needs; reading CBOR does so itself.
    pub fn check_depth(self, body: &[u8]) -> Result<(), ApiError> {
        if self == Self::Cbor {
            return Ok(());
        }
        let (mut depth, mut in_text, mut is_escaped) = (0usize, false, false);
        for byte in body {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if in_text => is_escaped = true,
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => depth += 1,
                b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEPTH {
                let what = format!("values are nested more than {DEPTH} deep");
                return Err(ApiError::serialization(what));
            }
        }
        Ok(())
    }

    /// A request as a tree of values, to be held against the model.
    pub fn tree(self, body: &[u8]) -> Result<Tree, ApiError> {
        match self {
            Self::Json => self.read::<serde_json::Value>(body).map(Tree::from),
            Self::Cbor => self.read::<ciborium::Value>(body).map(Tree::from),
        }
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

/// Bytes of the user's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blob(pub Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.serialize_str(&STANDARD.encode(&self.0))
        } else {
            to.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            let text = String::deserialize(from)?;
            let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
            return Ok(Self(bytes.into()));
        }
        from.deserialize_byte_buf(Buffer).map(|bytes| Self(bytes.into()))
    }
}

struct Buffer;

impl serde::de::Visitor<'_> for Buffer {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
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
            match Accepted::<Number, 1>::deserialize(from)?.0 {
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
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Both {
        data: Blob,
        at: Time,
    }

    fn both() -> Both {
        Both { data: Blob(Bytes::from_static(b"\x00\xff")), at: Time(1_700_000_000_123) }
    }

    #[test]
    fn json_has_base64_and_seconds() {
        let bytes = Format::Json.write(&both()).unwrap();
        assert_eq!(&bytes[..], br#"{"data":"AP8=","at":1700000000.123}"#);
        assert_eq!(Format::Json.read::<Both>(&bytes).unwrap(), both());
    }

    #[test]
    fn cbor_has_bytes_and_tagged_milliseconds() {
        let bytes = Format::Cbor.write(&both()).unwrap();
        let tagged = [&[0xc1, 0x1b][..], &1_700_000_000_123u64.to_be_bytes()].concat();
        assert!(bytes.windows(tagged.len()).any(|window| window == tagged), "{bytes:02x?}");
        assert!(bytes.windows(3).any(|window| window == [0x42, 0x00, 0xff]), "{bytes:02x?}");
        assert_eq!(Format::Cbor.read::<Both>(&bytes).unwrap(), both());
    }

    #[test]
    fn nesting_is_bounded_in_both() {
        let json = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(Format::Json.check_depth(&json(DEPTH)).is_ok());
        assert!(Format::Json.check_depth(&json(DEPTH + 1)).is_err());
        let text = format!("{{\"a\": \"{}\\\"{}\"}}", "[".repeat(99), "{".repeat(99));
        assert!(Format::Json.check_depth(text.as_bytes()).is_ok());
        let cbor = [vec![0x81; 1 << 20], vec![0x00]].concat();
        assert!(Format::Cbor.read::<serde::de::IgnoredAny>(&cbor).is_err());
    }

    #[test]
    fn garbage_is_refused_in_both() {
        for format in [Format::Json, Format::Cbor] {
            for garbage in [&b"{"[..], b"\xff\xff", b"[1,2", b"\x9f\x9f\x9f"] {
                let error = format.read::<Both>(garbage).unwrap_err();
                assert_eq!(error.name, "SerializationException");
            }
        }
    }
}
