//! What a request is about, as ARNs.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::ApiError;
use crate::names::arn;
use crate::token::{IteratorToken, PageToken, Seal};
use crate::wire::Format;

/// The members that name a resource, of any operation.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Names {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
    shard_iterator: Option<String>,
    next_token: Option<String>,
    // Read and dropped: these are large.
    #[serde(rename = "Records")]
    _records: Option<IgnoredAny>,
    #[serde(rename = "Data")]
    _data: Option<IgnoredAny>,
}

/// Everything a request names, each to be allowed; `*` if that is nothing, or a stream that is not
/// there.
///
/// # Errors
/// `SerializationException` for a body in which names cannot be read: its operation might read it.
pub(crate) fn resources(
    seal: &Seal,
    format: Format,
    body: &[u8],
    name_of: impl FnOnce(&str) -> Option<String>,
) -> Result<Vec<String>, ApiError> {
    let names: Names = format.request(body)?;
    let mut found = Vec::new();
    found.extend(names.stream_name.as_deref().map(arn));
    // As operations do, which name their stream by its id if by nothing else.
    if let (None, None, Some(id)) = (&names.stream_name, &names.stream_arn, &names.stream_id) {
        found.push(name_of(id).map_or_else(|| "*".to_owned(), |name| arn(&name)));
    }
    let arns = [names.stream_arn, names.consumer_arn, names.resource_arn];
    found.extend(arns.into_iter().flatten().map(|arn| own(&arn)));
    let iterator = names.shard_iterator.and_then(|token| seal.open::<IteratorToken>(&token));
    found.extend(iterator.map(|token| arn(&token.s)));
    let page = names.next_token.and_then(|token| seal.open::<PageToken>(&token));
    found.extend(page.and_then(|page| {
        let (_, stream) = page.of.rsplit_once(' ')?;
        Some(arn(stream))
    }));
    if found.is_empty() {
        found.push("*".to_owned());
    }
    Ok(found)
}

/// The ARN as rules have it: operations look at the name in it alone, and so must rules.
fn own(text: &str) -> String {
    let mut parts = text.split(":stream/");
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(name), None) => arn(name),
        // None of a stream here: its operation says so to those who may do everything.
        _ => "*".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seal: &Seal, body: &str) -> Vec<String> {
        let name_of = |id: &str| (id == "an-id").then(|| "by-id".to_owned());
        resources(seal, Format::Json, body.as_bytes(), name_of).unwrap()
    }

    #[test]
    fn every_name_of_a_stream_counts() {
        let seal = Seal::new();
        let token = seal.close(&IteratorToken { s: "it".into(), c: 1, n: 2, p: 3, t: 4 });
        let (listing, after) = ("shards of p".to_owned(), String::new());
        let page = PageToken { of: listing, created: 1, after, filter: None, t: 1 };
        let page = seal.close(&page);
        for (body, expected) in [
            ("{}".to_owned(), "*".to_owned()),
            (r#"{"StreamName":"a","Data":"eA=="}"#.into(), arn("a")),
            (r#"{"StreamARN":"arn:aws:kinesis:elsewhere:1:stream/a"}"#.into(), arn("a")),
            (r#"{"StreamId":"an-id"}"#.into(), arn("by-id")),
            (r#"{"StreamId":"of-none"}"#.into(), "*".into()),
            (r#"{"ResourceARN":"arn:aws:sqs:x"}"#.into(), "*".into()),
            (
                r#"{"ConsumerARN":"arn:aws:k:r:1:stream/a/consumer/c:1"}"#.into(),
                arn("a/consumer/c:1"),
            ),
            (format!(r#"{{"ShardIterator":"{token}"}}"#), arn("it")),
            (format!(r#"{{"NextToken":"{page}"}}"#), arn("p")),
        ] {
            assert_eq!(of(&seal, &body), [expected], "{body}");
        }
        for unreadable in ["[", r#"[null, "s"]"#, r#"{"StreamName":"s","NextToken":5}"#] {
            let read = resources(&seal, Format::Json, unreadable.as_bytes(), |_| None);
            assert_eq!(read.unwrap_err().name, "SerializationException", "{unreadable}");
        }
        let two = format!(r#"{{"StreamName":"a","ShardIterator":"{token}"}}"#);
        assert_eq!(of(&seal, &two), [arn("a"), arn("it")]);
    }
}
