//! Heads of requests that nobody signed.

use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::auth::AccessKeys;

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn a_head_that_nobody_signed_is_refused_and_never_verified(
        headers in headers(), body in prop::collection::vec(any::<u8>(), 0..40), now: u32,
    ) {
        let keys = "[[key]]\nid = \"AK\"\nsecret = \"0123456789abcdef\"";
        let keys = AccessKeys::from_toml(keys).unwrap();
        let uri: Uri = "/".parse().unwrap();
        if let Ok(signed) = Signed::read("POST", &uri, &headers) {
            prop_assert!(keys.verify(&signed, &body, u64::from(now) * 1000).is_err());
        }
    }
}
