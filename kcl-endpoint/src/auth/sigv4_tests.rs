use hyper::header::{HeaderName, HeaderValue};

use super::*;
use crate::auth::AccessKeys;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// The head and body of a request as it is on the wire.
fn request(text: &str) -> (String, Uri, HeaderMap, Vec<u8>) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, path) = (first.next().unwrap().to_owned(), first.next().unwrap());
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        match line.split_once(':').filter(|_| !line.starts_with(' ')) {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            // A folded line.
            None => headers.last_mut().unwrap().1.push_str(line),
        }
    }
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_str(&value).unwrap());
    }
    (method, path.parse().unwrap(), map, body.as_bytes().to_vec())
}

/// The folder of AWS' published vectors: they are part of a package that the client needs.
fn vectors() -> std::path::PathBuf {
    let rustc = std::process::Command::new("rustc").arg("-vV").output().unwrap();
    let about = String::from_utf8(rustc.stdout).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let cargo = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let failed = String::from_utf8_lossy(&cargo.stderr);
    let metadata: serde_json::Value =
        serde_json::from_slice(&cargo.stdout).unwrap_or_else(|_| panic!("{failed}"));
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "aws-sigv4").unwrap();
    let manifest = std::path::Path::new(package["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().join("aws-signing-test-suite/v4")
}

#[test]
fn the_published_vectors_of_aws_verify_and_nothing_next_to_them() {
    let mut checked = 0;
    for entry in std::fs::read_dir(vectors()).unwrap() {
        let path = entry.unwrap().path().join("header-signed-request.txt");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        // This service has one path and no query; the rest of the suite is about those.
        let first = text.lines().next().unwrap();
        if !["GET / HTTP/1.1", "POST / HTTP/1.1"].contains(&first) {
            continue;
        }
        checked += 1;
        let (method, uri, headers, body) = request(&text);
        let signed = Signed::parse(&method, &uri, &headers).unwrap();
        let name = path.display();
        assert_eq!((signed.key.as_str(), signed.millis), ("AKIDEXAMPLE", 1_440_938_160_000));
        assert!(signed.is_signed_with(SECRET, &body), "{name}");
        assert!(!signed.is_signed_with("another", &body), "{name}");
        let tampered = [&body[..], b" "].concat();
        assert!(!signed.is_signed_with(SECRET, &tampered), "{name}");
        for name in signed.canonical.lines().next_back().unwrap().split(';') {
            let mut changed = headers.clone();
            changed.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), "x".parse().unwrap());
            let is_right = Signed::parse(&method, &uri, &changed)
                .is_ok_and(|signed| signed.is_signed_with(SECRET, &body));
            assert!(!is_right || name == "x-amz-date", "{name} was changed");
        }
    }
    assert!(checked >= 10, "{checked} vectors");
}

/// Signs as a client would.
pub(super) fn signed(date: &str, names: &str, body: &[u8]) -> (Uri, HeaderMap) {
    let uri: Uri = "/".parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "localhost:4566"),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "Kinesis_20131202.PutRecord"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    headers.insert("x-amz-date", date.parse().unwrap());
    let mut sign = Signed {
        key: "AK".into(),
        token: None,
        date: date.into(),
        millis: 0,
        region: REGION.into(),
        service: SERVICE.into(),
        canonical: canonical("POST", &uri, &headers, names).unwrap(),
        announced_hash: None,
        signature: vec![0; 32],
    };
    let hash = hex(&Sha256::digest(body));
    sign.signature = sign.code(SECRET, &hash).finalize().into_bytes().to_vec();
    let authorization = format!(
        "{ALGORITHM} Credential=AK/{}/{REGION}/{SERVICE}/aws4_request, SignedHeaders={names}, \
         Signature={}",
        &date[..8],
        hex(&sign.signature)
    );
    headers.insert(AUTHORIZATION, authorization.parse().unwrap());
    (uri, headers)
}

pub(super) const NAMES: &str = "content-type;host;x-amz-date;x-amz-target";
/// 2026-01-02T03:04:05Z, a Friday.
pub(super) const DATE: (&str, u64) = ("20260102T030405Z", 1_767_323_045_000);

pub(super) fn keys() -> AccessKeys {
    let text = format!("[[key]]\nid = \"AK\"\nsecret = \"{SECRET}\"");
    AccessKeys::from_toml(&text).unwrap()
}

/// As a request passes: its head, and then its body.
pub(super) fn verify(
    keys: &AccessKeys,
    signed: &Signed,
    body: &[u8],
    now_millis: u64,
) -> Result<(), ApiError> {
    keys.admit(signed, now_millis)?.verify(signed, body)
}

fn error(result: Result<(), ApiError>) -> &'static str {
    result.err().map_or("", |error| error.name)
}

#[test]
fn a_signature_is_good_for_five_minutes_either_way() {
    let (uri, headers) = signed(DATE.0, NAMES, b"{}");
    let read = Signed::read("POST", &uri, &headers).unwrap();
    assert_eq!((basic(DATE.1), millis(DATE.0)), (DATE.0.to_owned(), Some(DATE.1)));
    let verify_at = |now| error(verify(&keys(), &read, b"{}", now));
    for (now, expected) in [
        (DATE.1, ""),
        (DATE.1 + 300_000, ""),
        (DATE.1 - 300_000, ""),
        (DATE.1 + 301_000, "InvalidSignatureException"),
        (DATE.1 - 301_000, "InvalidSignatureException"),
    ] {
        assert_eq!(verify_at(now), expected, "{now}");
    }
}

#[test]
fn what_decides_the_request_must_be_signed() {
    for missing in ["content-type", "host", "x-amz-date", "x-amz-target"] {
        let names: Vec<_> = NAMES.split(';').filter(|name| *name != missing).collect();
        let (uri, headers) = signed(DATE.0, &names.join(";"), b"");
        let read = Signed::read("POST", &uri, &headers).map(drop);
        assert_eq!(error(read), "IncompleteSignatureException", "{missing}");
    }
}

#[test]
fn headers_that_are_wrong_are_named_and_never_panic() {
    let (uri, headers) = signed(DATE.0, NAMES, b"");
    let right = headers[AUTHORIZATION].to_str().unwrap().to_owned();
    let with = |text: &str| {
        let mut changed = headers.clone();
        changed.insert(AUTHORIZATION, text.parse().unwrap());
        error(Signed::read("POST", &uri, &changed).map(drop))
    };
    assert_eq!(with(&right), "");
    for (from, to, expected) in [
        ("AWS4-HMAC-SHA256 ", "Basic ", "IncompleteSignatureException"),
        ("Credential=", "Credentials=", "IncompleteSignatureException"),
        ("AK/2026", "AK/x/2026", "IncompleteSignatureException"),
        ("/20260102/", "/20260103/", "IncompleteSignatureException"),
        ("/20260102/", "//", "IncompleteSignatureException"),
        ("us-east-1", "eu-west-1", "InvalidSignatureException"),
        ("kinesis", "s3", "InvalidSignatureException"),
        ("host;", "", "IncompleteSignatureException"),
        ("host;", "host;host;", "IncompleteSignatureException"),
        ("host;", "Host;", "IncompleteSignatureException"),
        ("host;", "host;missing;", "IncompleteSignatureException"),
        ("Signature=", "Signature=0", "IncompleteSignatureException"),
        (", Signature=", ", Signature=0, Signature=", "IncompleteSignatureException"),
    ] {
        assert_eq!(with(&right.replace(from, to)), expected, "{from} {to}");
    }
    for at in 0..right.len() {
        with(&right[..at]);
    }
    let mut none = headers.clone();
    none.remove(AUTHORIZATION);
    let read = Signed::read("POST", &uri, &none).map(drop);
    assert_eq!(error(read), "MissingAuthenticationTokenException");
    // Every hour of sixty years, there and back.
    for at in (0..60 * 366 * 24).map(|hour| hour * 3_600_000) {
        assert_eq!(millis(&basic(at)), Some(at));
    }
    for date in ["", "20260102T030405", "20261302T030405Z", "2026010ZT030405Z", "+0260102T030405Z"]
    {
        assert_eq!(millis(date), None, "{date}");
    }
    for date in ["00000101T000000Z", "00000001T000000Z", "20260002T030405Z", "19691231T235959Z"] {
        let (uri, headers) = signed(date, NAMES, b"");
        let read = Signed::read("POST", &uri, &headers).map(drop);
        assert_eq!(error(read), "IncompleteSignatureException", "{date}");
    }
}

#[test]
fn another_key_body_or_token_is_refused() {
    let (uri, mut headers) = signed(DATE.0, NAMES, b"{}");
    let read = Signed::read("POST", &uri, &headers).unwrap();
    let verify = |keys: &AccessKeys, read: &Signed, body: &[u8]| {
        error(super::tests::verify(keys, read, body, DATE.1))
    };
    assert_eq!(verify(&keys(), &read, b"{}"), "");
    assert_eq!(verify(&keys(), &read, b"{ }"), "InvalidSignatureException");
    let text = |rest: &str| format!("[[key]]\nid = \"AK\"\nsecret = \"{SECRET}\"\n{rest}");
    let other = AccessKeys::from_toml(&text("").replace("AK", "OTHER")).unwrap();
    assert_eq!(verify(&other, &read, b"{}"), "UnrecognizedClientException");
    let with_token = AccessKeys::from_toml(&text("session_token = \"t\"")).unwrap();
    assert_eq!(verify(&with_token, &read, b"{}"), "UnrecognizedClientException");
    headers.insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().unwrap());
    let read = Signed::read("POST", &uri, &headers).unwrap();
    assert_eq!(verify(&keys(), &read, b"{}"), "InvalidSignatureException");
}
