//! Reads the CBOR dialect of AWS without copying: definite and indefinite lengths, and tags passed
//! over (the only one in use says that a number is a time).

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::limits::DEPTH;

/// Why bytes are not what they should be.
#[derive(Debug)]
pub(crate) struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl de::Error for Malformed {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(what.to_string())
    }
}

/// Reads one value, which has to be all there is.
pub(crate) fn read<'de, T: de::Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Malformed> {
    let mut reader = Reader { rest: bytes, depth: 0 };
    let value = T::deserialize(&mut reader)?;
    if reader.rest.is_empty() {
        return Ok(value);
    }
    Err(Malformed::custom("there is more behind the request"))
}

struct Reader<'de> {
    rest: &'de [u8],
    depth: usize,
}

/// What begins a value.
enum Head {
    /// Zero or above.
    Whole(u64),
    /// -1 - this.
    Negative(u64),
    /// A length, or none: up to a break.
    Bytes(Option<usize>),
    Text(Option<usize>),
    List(Option<usize>),
    Map(Option<usize>),
    Tag,
    Flag(bool),
    Nothing,
    Real(f64),
    Break,
}

const BREAK: u8 = 0xff;

impl<'de> Reader<'de> {
    fn take(&mut self, count: usize) -> Result<&'de [u8], Malformed> {
        let cut = || Malformed::custom("the request ends in the middle");
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(cut)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, Malformed> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn head(&mut self) -> Result<Head, Malformed> {
        let first = self.take(1)?[0];
        let (kind, info) = (first >> 5, first & 31);
        if kind == 7 {
            return self.simple(info);
        }
        let argument = match info {
            0..=23 => Some(u64::from(info)),
            24..=27 => Some(self.number(1 << (info - 24))?),
            31 if (2..=5).contains(&kind) => None,
            _ => return Err(Malformed::custom("a head that CBOR does not have")),
        };
        // More than there can be is found out when it is taken.
        let length = argument.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        Ok(match kind {
            0 => Head::Whole(argument.unwrap_or_default()),
            1 => Head::Negative(argument.unwrap_or_default()),
            2 => Head::Bytes(length),
            3 => Head::Text(length),
            4 => Head::List(length),
            5 => Head::Map(length),
            _ => Head::Tag,
        })
    }

    fn simple(&mut self, info: u8) -> Result<Head, Malformed> {
        Ok(match info {
            20 => Head::Flag(false),
            21 => Head::Flag(true),
            22 | 23 => Head::Nothing,
            25 => Head::Real(half(self.number(2)? as u16)),
            26 => Head::Real(f64::from(f32::from_bits(self.number(4)? as u32))),
            27 => Head::Real(f64::from_bits(self.number(8)?)),
            31 => Head::Break,
            _ => return Err(Malformed::custom("a simple value that no request has")),
        })
    }

    /// The bytes of a value whose head is read; in pieces if it has no length.
    fn string(
        &mut self,
        length: Option<usize>,
        is_text: bool,
    ) -> Result<Cow<'de, [u8]>, Malformed> {
        if let Some(length) = length {
            return self.take(length).map(Cow::Borrowed);
        }
        let mut whole = Vec::new();
        loop {
            match self.head()? {
                Head::Break => return Ok(whole.into()),
                Head::Text(Some(length)) if is_text => whole.extend(self.take(length)?),
                Head::Bytes(Some(length)) if !is_text => whole.extend(self.take(length)?),
                _ => return Err(Malformed::custom("a piece of another type")),
            }
        }
    }

    fn enter<R>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<R, Malformed>,
    ) -> Result<R, Malformed> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Malformed(format!("values are nested more than {DEPTH} deep")));
        }
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn text<V: Visitor<'de>>(
        &mut self,
        length: Option<usize>,
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        let no_text = |_| Malformed::custom("a text that is no UTF-8");
        match self.string(length, true)? {
            Cow::Borrowed(bytes) => {
                visitor.visit_borrowed_str(std::str::from_utf8(bytes).map_err(no_text)?)
            }
            Cow::Owned(bytes) => {
                let text = String::from_utf8(bytes);
                visitor
                    .visit_string(text.map_err(|_| Malformed::custom("a text that is no UTF-8"))?)
            }
        }
    }
}

/// IEEE 754's half precision.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Malformed;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self.head()? {
            Head::Whole(number) => visitor.visit_u64(number),
            Head::Negative(number) => match i64::try_from(number) {
                Ok(number) => visitor.visit_i64(-1 - number),
                Err(_) => Err(Malformed::custom("a number out of range")),
            },
            Head::Bytes(length) => match self.string(length, false)? {
                Cow::Borrowed(bytes) => visitor.visit_borrowed_bytes(bytes),
                Cow::Owned(bytes) => visitor.visit_byte_buf(bytes),
            },
            Head::Text(length) => self.text(length, visitor),
            Head::List(left) => self.enter(|from| {
                let mut items = Items { from, left };
                let value = visitor.visit_seq(&mut items)?;
                items.finish()?;
                Ok(value)
            }),
            Head::Map(left) => self.enter(|from| {
                let mut items = Items { from, left };
                let value = visitor.visit_map(&mut items)?;
                items.finish()?;
                Ok(value)
            }),
            Head::Tag => self.enter(|from| de::Deserializer::deserialize_any(from, visitor)),
            Head::Flag(flag) => visitor.visit_bool(flag),
            Head::Nothing => visitor.visit_unit(),
            Head::Real(number) => visitor.visit_f64(number),
            Head::Break => Err(Malformed::custom("an end where nothing began")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        if matches!(self.rest.first(), Some(0xf6 | 0xf7)) {
            self.take(1)?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self.head()? {
            Head::Text(length) => self.text(length, visitor),
            _ => Err(Malformed::custom("a name that is no text")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum ignored_any
    }
}

/// What is within a list or a map.
struct Items<'a, 'de> {
    from: &'a mut Reader<'de>,
    /// None: up to a break.
    left: Option<usize>,
}

impl Items<'_, '_> {
    fn has_next(&mut self) -> Result<bool, Malformed> {
        match &mut self.left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.from.rest.first() == Some(&BREAK) => {
                self.from.take(1)?;
                self.left = Some(0);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// Whoever reads may stop early, but not in the middle.
    fn finish(mut self) -> Result<(), Malformed> {
        match self.has_next()? {
            false => Ok(()),
            true => Err(Malformed::custom("more items than expected")),
        }
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Malformed;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Malformed> {
        if !self.has_next()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.from).map(Some)
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = Malformed;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Malformed> {
        if !self.has_next()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.from).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Malformed> {
        seed.deserialize(&mut *self.from)
    }
}

#[cfg(test)]
#[path = "cbor_tests.rs"]
mod tests;
