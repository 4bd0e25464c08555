//! Typed access to the attributes of an item. Every failure says which attribute and why.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use kcl_protocol::ShardId;

/// An item as the service has it.
pub(crate) type Item = HashMap<String, AttributeValue>;
/// Settings allow durations of minutes; what is derived from one this long does not overflow.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A decoded value, or what is wrong with it.
pub(crate) type Decoded<T> = Result<T, String>;

pub(crate) fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

pub(crate) fn number(value: impl Into<u128>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

pub(crate) fn nanos(duration: Duration) -> AttributeValue {
    number(duration.as_nanos())
}

/// A string set; `None` for the empty one, which the service does not store.
pub(crate) fn shard_set(shards: &BTreeSet<ShardId>) -> Option<AttributeValue> {
    let names = || shards.iter().map(ToString::to_string).collect();
    (!shards.is_empty()).then(|| AttributeValue::Ss(names()))
}

/// Reads one item.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub &'a Item);

fn kind(value: &AttributeValue) -> &'static str {
    match value {
        AttributeValue::S(_) => "S",
        AttributeValue::N(_) => "N",
        AttributeValue::Ss(_) => "SS",
        AttributeValue::M(_) => "M",
        AttributeValue::L(_) => "L",
        AttributeValue::B(_) => "B",
        AttributeValue::Bool(_) => "BOOL",
        AttributeValue::Null(_) => "NULL",
        _ => "another type",
    }
}

fn wrong(name: &str, wanted: &str, found: &AttributeValue) -> String {
    format!("{name} is of type {}, expected {wanted}", kind(found))
}

fn needed<T>(name: &str, value: Option<T>) -> Decoded<T> {
    value.ok_or_else(|| format!("{name} is missing"))
}

impl<'a> Reader<'a> {
    pub fn text_if_any(self, name: &str) -> Decoded<Option<&'a str>> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "S", other)),
        }
    }

    pub fn bytes_if_any(self, name: &str) -> Decoded<Option<&'a [u8]>> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::B(bytes)) => Ok(Some(bytes.as_ref())),
            Some(other) => Err(wrong(name, "B", other)),
        }
    }

    pub fn text(self, name: &str) -> Decoded<&'a str> {
        needed(name, self.text_if_any(name)?)
    }

    pub fn number_if_any<T: TryFrom<u128>>(self, name: &str) -> Decoded<Option<T>> {
        let digits = match self.0.get(name) {
            None => return Ok(None),
            Some(AttributeValue::N(digits)) => digits,
            Some(other) => return Err(wrong(name, "N", other)),
        };
        let number = digits.parse::<u128>().ok().and_then(|wide| T::try_from(wide).ok());
        number.map(Some).ok_or_else(|| format!("{name} is {digits}, which is out of range"))
    }

    pub fn number<T: TryFrom<u128>>(self, name: &str) -> Decoded<T> {
        needed(name, self.number_if_any(name)?)
    }

    /// A counter: no run of the protocol comes near what a Java `long` holds, and one more would
    /// overflow.
    pub fn count_if_any(self, name: &str) -> Decoded<Option<u64>> {
        Ok(self.number_if_any::<i64>(name)?.map(i64::unsigned_abs))
    }

    pub fn count(self, name: &str) -> Decoded<u64> {
        needed(name, self.count_if_any(name)?)
    }

    pub fn duration(self, name: &str) -> Decoded<Duration> {
        let nanos: u128 = self.number(name)?;
        let within = u64::try_from(nanos).ok().map(Duration::from_nanos);
        let within = within.filter(|duration| *duration <= LONGEST);
        within.ok_or_else(|| format!("{name} is {nanos}, which is out of range"))
    }

    pub fn flag(self, name: &str) -> Decoded<bool> {
        match needed(name, self.0.get(name))? {
            AttributeValue::Bool(flag) => Ok(*flag),
            other => Err(wrong(name, "BOOL", other)),
        }
    }

    pub fn flag_if_any(self, name: &str) -> Decoded<bool> {
        if self.0.contains_key(name) { self.flag(name) } else { Ok(false) }
    }

    pub fn map(self, name: &str) -> Decoded<&'a Item> {
        match needed(name, self.0.get(name))? {
            AttributeValue::M(map) => Ok(map),
            other => Err(wrong(name, "M", other)),
        }
    }

    pub fn list(self, name: &str) -> Decoded<&'a [AttributeValue]> {
        match needed(name, self.0.get(name))? {
            AttributeValue::L(list) => Ok(list),
            other => Err(wrong(name, "L", other)),
        }
    }

    pub fn shards(self, name: &str) -> Decoded<BTreeSet<ShardId>> {
        match self.0.get(name) {
            None => Ok(BTreeSet::new()),
            Some(AttributeValue::Ss(names)) => Ok(names.iter().map(ShardId::new).collect()),
            Some(other) => Err(wrong(name, "SS", other)),
        }
    }

    /// A 128-bit number in decimal text.
    pub fn wide_decimal(self, name: &str) -> Decoded<u128> {
        let digits = self.text(name)?;
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok());
        number
            .flatten()
            .ok_or_else(|| format!("{name} is {digits:?}, expected a decimal number below 2^128"))
    }
}

/// 32 hexadecimal digits.
pub(crate) fn hex(text: &str, name: &str) -> Decoded<u128> {
    let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
    number.ok_or_else(|| format!("{name} is {text:?}, expected 32 hexadecimal digits"))
}
