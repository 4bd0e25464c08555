//! Requests held against the model: every value that it does not allow is named, as the service
//! does.

use std::cell::Cell;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{ApiError, cut};
use crate::limits::{TOLD, VALUES};
use crate::model::{Form, Member, Need, Shape};

/// A value of a request, in either encoding, as far as rules speak of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Nothing,
    Text(String),
    Whole(i64),
    Bytes(usize),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
    Flag,
    /// A time, or a number that is not whole.
    Number,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Reading { left: &Cell::new(VALUES) }.deserialize(from)
    }
}

/// Reads a tree. A value takes many times the two bytes that it may have on the wire, so there are
/// only so many, known to the model or not.
#[derive(Clone, Copy)]
struct Reading<'a> {
    /// How many more values there may be.
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Tree, D::Error> {
        let left = self.left.get().checked_sub(1);
        let too_many = || D::Error::custom(format!("a request has at most {VALUES} values"));
        self.left.set(left.ok_or_else(too_many)?);
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Flag)
    }
    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Whole(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(i64::try_from(number).map_or(Tree::Number, Tree::Whole))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Number)
    }
    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }
    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Bytes(bytes.len()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = from.next_entry_seed(PhantomData::<String>, self)? {
            members.push(member);
        }
        Ok(Tree::Map(members))
    }
}

/// Holds a request against its members.
pub(crate) fn validate(request: &Tree, members: &[Member]) -> Result<(), ApiError> {
    let mut found = Findings::default();
    structure("", request, members, &mut found);
    found.told().map_or(Ok(()), Err)
}

/// What is wrong with a request.
#[derive(Default)]
struct Findings {
    /// The first value of another type than the model's.
    mistyped: Option<String>,
    /// The first ones that are not what their rules say, and how many there are.
    broken: Vec<String>,
    count: usize,
}

impl Findings {
    fn push(&mut self, broken: String) {
        self.count += 1;
        if self.broken.len() < TOLD {
            self.broken.push(broken);
        }
    }
    fn told(self) -> Option<ApiError> {
        if let Some(mistyped) = self.mistyped {
            return Some(ApiError::serialization(mistyped));
        }
        let found = self.broken;
        match self.count {
            0 => None,
            1 => Some(ApiError::invalid(&format!("1 validation error detected: {}", found[0]))),
            many => {
                let mut all = found.join("; ");
                if many > found.len() {
                    all.push_str(&format!("; and {} more", many - found.len()));
                }
                Some(ApiError::invalid(&format!("{many} validation errors detected: {all}")))
            }
        }
    }
}

/// What is wrong with one value, by the rules of its shape.
pub(crate) fn refusal(at: &str, value: &Tree, shape: &Shape) -> Option<ApiError> {
    let mut found = Findings::default();
    judge(at, value, shape, &mut found);
    found.told()
}

fn structure(at: &str, value: &Tree, members: &[Member], found: &mut Findings) {
    let Tree::Map(given) = value else {
        found.mistyped.get_or_insert(format!("'{at}' is to be a structure."));
        return;
    };
    for member in members {
        let value = given.iter().find(|(name, _)| name == member.name).map(|(_, value)| value);
        let at = format!("{at}{}", camel(member.name));
        match value {
            None | Some(Tree::Nothing) if member.need == Need::Required => {
                found.push(told("null", &at, "Member must not be null"));
            }
            None | Some(Tree::Nothing) => {}
            Some(value) => judge(&at, value, &member.shape, found),
        }
    }
}

fn judge(at: &str, value: &Tree, shape: &Shape, found: &mut Findings) {
    match (shape, value) {
        (Shape::Text(least, most, form), Tree::Text(text)) => {
            let shown = format!("'{text}'");
            length(at, &shown, text.chars().count(), *least, *most, found);
            if !form.matches(text) {
                let rule = "Member must satisfy regular expression pattern: ";
                found.push(told(&shown, at, &format!("{rule}{}", form.pattern())));
            }
        }
        (Shape::OneOf(names), Tree::Text(text)) => {
            if !names.contains(&text.as_str()) {
                let rule = format!("Member must satisfy enum value set: [{}]", names.join(", "));
                found.push(told(&format!("'{text}'"), at, &rule));
            }
        }
        (Shape::Whole(least, most), Tree::Whole(number)) => {
            let shown = format!("'{number}'");
            if number < least {
                let rule = format!("Member must have value greater than or equal to {least}");
                found.push(told(&shown, at, &rule));
            }
            if number > most {
                let rule = format!("Member must have value less than or equal to {most}");
                found.push(told(&shown, at, &rule));
            }
        }
        (Shape::Blob(most), Tree::Bytes(bytes)) => {
            length(at, &format!("({bytes} bytes)"), *bytes, 0, *most, found);
        }
        (Shape::List(least, most, of), Tree::List(items)) => {
            length(at, &format!("({} items)", items.len()), items.len(), *least, *most, found);
            for (index, item) in items.iter().enumerate() {
                judge(&format!("{at}.{}.member", index + 1), item, of, found);
            }
        }
        (Shape::Map(least, most, key, of), Tree::Map(entries)) => {
            let count = entries.len();
            length(at, &format!("({count} entries)"), count, *least, *most, found);
            for (name, value) in entries {
                judge(&format!("{at}.key"), &Tree::Text(name.clone()), key, found);
                judge(&format!("{at}.{name}.member"), value, of, found);
            }
        }
        (Shape::Structure(members), value) => structure(&format!("{at}."), value, members, found),
        (Shape::Blob(_), Tree::Text(_))
        | (Shape::Flag, Tree::Flag)
        | (Shape::Time, Tree::Number | Tree::Whole(_)) => {}
        _ => {
            found.mistyped.get_or_insert(format!("'{at}' is of another type than its member."));
        }
    }
}

fn length(at: &str, shown: &str, length: usize, least: usize, most: usize, found: &mut Findings) {
    if length < least {
        let rule = format!("Member must have length greater than or equal to {least}");
        found.push(told(shown, at, &rule));
    }
    if length > most {
        let rule = format!("Member must have length less than or equal to {most}");
        found.push(told(shown, at, &rule));
    }
}

/// Names of members may be the client's too.
fn told(value: &str, at: &str, rule: &str) -> String {
    let (value, at) = (cut(value), cut(at));
    format!("Value {value} at '{at}' failed to satisfy constraint: {rule}")
}

/// A member's name as messages have it.
fn camel(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

impl Form {
    /// As the model writes it.
    fn pattern(self) -> &'static str {
        match self {
            Self::Any => ".*",
            Self::Name => "[a-zA-Z0-9_.-]+",
            Self::StreamArn => r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+",
            Self::ConsumerArn => concat!(
                r"^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+",
                r"\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+"
            ),
            Self::ResourceArn => r"arn:aws.*:kinesis:.*:\d{12}:.*(stream|channel|queue)/\S+",
            Self::HashKey => r"0|([1-9]\d{0,38})",
            Self::Sequence => r"0|([1-9]\d{0,128})",
            Self::StreamId => "[a-z0-9]{20}-[a-z0-9]{3}",
        }
    }

    pub fn matches(self, text: &str) -> bool {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = |most: usize| {
            digits(text) && text.len() <= most && (text == "0" || !text.starts_with('0'))
        };
        match self {
            Self::Any => true,
            Self::Name => is_name(text),
            Self::StreamArn => of_account(text, &[":stream/"])
                .is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace)),
            Self::ConsumerArn => of_account(text, &[":stream/"]).is_some_and(|rest| {
                rest.split_once("/consumer/").is_some_and(|(stream, consumer)| {
                    let (name, created) = consumer.rsplit_once(':').unwrap_or((consumer, ""));
                    is_name(stream) && is_name(name) && digits(created)
                })
            }),
            Self::ResourceArn => of_account(text, &[":stream/", ":channel/", ":queue/"])
                .is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace)),
            Self::HashKey => number(39),
            Self::Sequence => number(129),
            Self::StreamId => text.split_once('-').is_some_and(|(one, two)| {
                let is_plain =
                    |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
                one.len() == 20 && two.len() == 3 && is_plain(one) && is_plain(two)
            }),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// What follows the account and the kind in an ARN of Kinesis.
fn of_account<'a>(arn: &'a str, kinds: &[&str]) -> Option<&'a str> {
    let rest = arn.strip_prefix("arn:aws")?;
    let (_, rest) = rest.split_once(":kinesis:")?;
    let (at, kind) = kinds.iter().find_map(|kind| rest.find(kind).map(|at| (at, kind)))?;
    let (head, tail) = rest.split_at(at);
    let (_, account) = head.rsplit_once(':')?;
    let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    is_account.then_some(&tail[kind.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::members;

    fn check(operation: &str, request: serde_json::Value) -> Result<(), String> {
        let members = members(operation).unwrap();
        validate(&serde_json::from_value(request).unwrap(), members).map_err(|error| error.message)
    }

    #[test]
    fn every_value_that_breaks_a_rule_is_named() {
        let told = check("SplitShard", serde_json::json!({"StreamName": "a b"})).unwrap_err();
        assert!(told.starts_with("3 validation errors detected: Value 'a b' at 'streamName'"));
        assert!(told.contains("Value null at 'shardToSplit' failed to satisfy constraint: Member"));
        let entries = serde_json::json!({"Tags": {"k": "v".repeat(257)}});
        let told = check("AddTagsToStream", entries).unwrap_err();
        assert!(told.contains("at 'tags.k.member'"), "{told}");
        let nested = serde_json::json!({"StreamName": "s", "StreamModeDetails": {}});
        let told = check("CreateStream", nested).unwrap_err();
        assert!(told.contains("null at 'streamModeDetails.streamMode'"), "{told}");
    }

    #[test]
    fn of_many_broken_rules_the_first_are_told_and_the_others_counted() {
        let members = members("EnableEnhancedMonitoring").unwrap();
        let metrics = Tree::List(vec![Tree::Text("\u{1}".into()); 1_000_000]);
        let request = Tree::Map(vec![("ShardLevelMetrics".into(), metrics)]);
        let told = validate(&request, members).unwrap_err().message;
        assert!(told.starts_with("1000001 validation errors detected: Value (1000000 items) at"));
        assert!(told.ends_with("ALL]; and 999981 more"), "{told}");
        assert!(told.len() < 64 << 10, "{}", told.len());
        let keys = (0..10).map(|n| (format!("{n}{}", "k".repeat(9999)), "v".repeat(257)));
        let keys: std::collections::BTreeMap<_, _> = keys.collect();
        let told = check("AddTagsToStream", serde_json::json!({ "Tags": keys })).unwrap_err();
        assert!(told.starts_with("20 validation errors") && !told.contains("more"), "{told}");
        assert!(told.len() < 64 << 10, "{}", told.len());
    }

    #[test]
    fn a_request_has_so_many_values() {
        let read = |more: usize| {
            let text = format!(r#"{{"Unknown": [{}[]]}}"#, "0,".repeat(more));
            serde_json::from_str::<Tree>(&text).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(read(VALUES - 3), Ok(()));
        let refused = read(VALUES - 2).unwrap_err();
        assert!(refused.starts_with("a request has at most 10000 values"), "{refused}");
    }

    #[test]
    fn forms_are_of_the_whole_text() {
        let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
        for (form, good, bad) in [
            (Form::StreamArn, arn.to_owned(), "arn:aws:kinesis:x:1:stream/s".to_owned()),
            (Form::StreamArn, arn.to_owned(), format!("x{arn}")),
            (Form::ConsumerArn, format!("{arn}/consumer/c:12"), format!("{arn}/consumer/c")),
            (Form::ResourceArn, arn.replace("stream", "queue"), arn.replace("stream", "other")),
            (Form::HashKey, "1".repeat(39), "01".to_owned()),
            (Form::Sequence, "0".to_owned(), "1".repeat(130)),
            (Form::StreamId, format!("{}-abc", "a0".repeat(10)), "a-b".to_owned()),
            (Form::Name, "a_.-9".to_owned(), "a/b".to_owned()),
        ] {
            assert!(form.matches(&good), "{form:?} {good}");
            assert!(!form.matches(&bad), "{form:?} {bad}");
        }
    }
}
