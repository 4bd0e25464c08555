//! Requests next to one that was signed, and heads that nobody signed.

use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::sample::Index;

use super::tests::{DATE, NAMES, keys, signed, verify};
use super::*;

/// Pieces of what a signed request has, in any order and number, with anything between.
fn authorization() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("AWS4-HMAC-SHA256 ".to_owned()),
        Just("Credential=AK/20260102/us-east-1/kinesis/aws4_request".to_owned()),
        Just("SignedHeaders=content-type;host;x-amz-date;x-amz-target".to_owned()),
        Just(format!("Signature={}", "0".repeat(64))),
        Just(", ".to_owned()),
        "[ -~]{0,20}",
        "[a-z;]{0,20}",
        "[\\x20-\\xff]{0,8}",
    ];
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let names = ["host", "content-type", "x-amz-target", "x-amz-date", "x-amz-security-token"];
    let value = prop_oneof![Just("20260102T030405Z".to_owned()), "[ -~]{0,24}", "[0-9TZ]{0,20}"];
    let header = (prop::sample::select(names.to_vec()), value);
    (authorization(), prop::collection::vec(header, 0..8)).prop_map(|(authorization, others)| {
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).ok();
        if let Some(value) = value(&authorization) {
            headers.insert(AUTHORIZATION, value);
        }
        for (name, text) in others {
            if let Some(value) = value(&text) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        headers
    })
}

const BODY: &[u8] = br#"{"StreamName":"orders","Data":"eA==","PartitionKey":"k"}"#;

/// A request in its parts.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    uri: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Sent {
    /// Signed rightly, as a client does.
    fn right() -> Self {
        let (uri, headers) = signed(DATE.0, NAMES, BODY);
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), value.as_bytes().to_vec())
        };
        Self {
            method: "POST".into(),
            uri: uri.to_string(),
            headers: headers.iter().map(header).collect(),
            body: BODY.to_vec(),
        }
    }

    /// Whether it is let in; what is no HTTP at all is not.
    fn passes(&self) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) else {
                return false;
            };
            headers.append(name, value);
        }
        let Ok(uri) = self.uri.parse::<Uri>() else { return false };
        let read = Signed::read(&self.method, &uri, &headers);
        read.is_ok_and(|signed| verify(&keys(), &signed, &self.body, DATE.1).is_ok())
    }

    /// Each part that can be changed byte by byte.
    fn parts(&mut self) -> Vec<&mut Vec<u8>> {
        let mut parts: Vec<_> = self.headers.iter_mut().map(|(_, value)| value).collect();
        parts.push(&mut self.body);
        parts
    }
}

#[test]
fn of_a_signed_request_no_byte_can_be_changed_left_out_or_added() {
    let right = Sent::right();
    assert!(right.passes());
    let mut tried = 0;
    let mut refused = |part: usize, at: usize, changed: &dyn Fn(&mut Vec<u8>)| {
        let mut sent = right.clone();
        changed(sent.parts()[part]);
        assert!(!sent.passes(), "part {part} at {at}: {sent:?}");
        tried += 1;
    };
    for part in 0..right.clone().parts().len() {
        let bytes = right.clone().parts()[part].clone();
        for (at, byte) in bytes.iter().enumerate() {
            for other in [byte ^ 1, byte ^ 0x20, b'0', b'f', b'F', b'/', b';', b',', b'=', b'\t'] {
                if other != *byte {
                    refused(part, at, &|bytes| bytes[at] = other);
                }
            }
            // The space between two parts may be left out.
            if !bytes[..at + 1].ends_with(b", ") {
                refused(part, at, &|bytes| bytes.splice(at..at + 1, []).for_each(drop));
            }
            refused(part, at, &|bytes| bytes.insert(at, b'0'));
            refused(part, at, &|bytes| bytes.truncate(at));
        }
    }
    assert!(tried > 4000, "{tried}");
}

#[test]
fn of_a_signed_request_no_part_can_be_changed_left_out_or_doubled() {
    let right = Sent::right();
    for method in ["GET", "PUT", "post"] {
        assert!(!Sent { method: method.into(), ..right.clone() }.passes(), "{method}");
    }
    for uri in ["/?", "/?a=b", "//", "/x", "/%2f", "http://elsewhere/x"] {
        let sent = Sent { uri: uri.into(), ..right.clone() };
        // An empty query is none.
        assert_eq!(sent.passes(), uri == "/?", "{uri}");
    }
    for at in 0..right.headers.len() {
        let mut without = right.clone();
        let (name, value) = without.headers.remove(at);
        assert!(!without.passes(), "without {name}");
        let mut twice = right.clone();
        twice.headers.push((name.clone(), value));
        assert!(!twice.passes(), "{name} twice");
        for (other, _) in &right.headers {
            let mut renamed = right.clone();
            renamed.headers[at].0.clone_from(other);
            assert!(*other == name || !renamed.passes(), "{name} as {other}");
        }
    }
    let mut unsigned = right.clone();
    unsigned.headers.push(("x-amz-security-token".into(), b"t".to_vec()));
    assert!(!unsigned.passes(), "a token that was not signed");
}

/// A part, a place in it, what to put there, and how many bytes to take out.
fn change() -> impl Strategy<Value = (Index, Index, Vec<u8>, usize)> {
    (any::<Index>(), any::<Index>(), prop::collection::vec(any::<u8>(), 0..4), 0usize..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn a_signed_request_with_any_changes_is_refused(
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let right = Sent::right();
        let mut sent = right.clone();
        for (part, at, bytes, removed) in changes {
            let mut parts = sent.parts();
            let part = &mut parts[part.index(right.headers.len() + 1)];
            let at = at.index(part.len() + 1);
            let end = (at + removed).min(part.len());
            part.splice(at..end, bytes);
        }
        // White space at the ends of a header, more of it within, and around a comma of the
        // signature, is none of its value.
        let told = |sent: &Sent| {
            let mut told = sent.clone();
            for (_, value) in &mut told.headers {
                let text = String::from_utf8_lossy(value).into_owned();
                let text = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
                *value = text.replace(", ", ",").replace(" ,", ",").into_bytes();
            }
            (told.headers, told.body)
        };
        prop_assert!(!sent.passes() || told(&sent) == told(&right), "{:?}", sent);
    }

    #[test]
    fn a_head_that_nobody_signed_is_refused_and_never_verified(
        headers in headers(), body in prop::collection::vec(any::<u8>(), 0..40), now: u32,
    ) {
        let uri: Uri = "/".parse().unwrap();
        if let Ok(signed) = Signed::read("POST", &uri, &headers) {
            prop_assert!(verify(&keys(), &signed, &body, u64::from(now) * 1000).is_err());
        }
    }
}
