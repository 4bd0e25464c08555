//! AWS Signature Version 4
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>), checked.

use std::time::{Duration, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use sha2::{Digest, Sha256};

use super::keys::mac;
use crate::error::ApiError;
use crate::limits::{CLOCK_SKEW, REGION};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "kinesis";
/// Headers that decide what a request does: a signature has to cover them.
const MUST_BE_SIGNED: [&str; 3] = ["host", "x-amz-date", "x-amz-target"];

/// What the head of a request says of its signature.
#[derive(Debug)]
pub(crate) struct Signed {
    /// Id of the key.
    pub(super) key: String,
    pub(super) token: Option<String>,
    /// As the request writes it: `20260101T000000Z`.
    date: String,
    millis: u64,
    region: String,
    service: String,
    /// The canonical request without the hash of the payload, which is its last line.
    canonical: String,
    /// What the request says the hash is.
    announced_hash: Option<String>,
    signature: Vec<u8>,
}

impl Signed {
    /// Reads the head of a request for this service.
    pub(crate) fn read(method: &str, uri: &Uri, headers: &HeaderMap) -> Result<Self, ApiError> {
        let signed = Self::parse(method, uri, headers)?;
        if (signed.region.as_str(), signed.service.as_str()) != (REGION, SERVICE) {
            return Err(ApiError::stale_signature(format!(
                "Credential should be scoped to region {REGION} and service {SERVICE}, not {} and \
                 {}.",
                signed.region, signed.service
            )));
        }
        let lines = || signed.canonical.lines();
        let names = lines().next_back().unwrap_or_default();
        let is_signed = |name: &str| names.split(';').any(|signed| signed == name);
        let mut must = MUST_BE_SIGNED.to_vec();
        // What clients leave out of the signature may not decide how the body is read.
        must.extend(headers.contains_key("content-type").then_some("content-type"));
        must.extend(headers.contains_key("x-amz-security-token").then_some("x-amz-security-token"));
        match must.iter().find(|name| !is_signed(name)) {
            Some(name) => {
                Err(ApiError::incomplete_signature(format!("'{name}' must be a 'SignedHeader'.")))
            }
            None => Ok(signed),
        }
    }

    fn parse(method: &str, uri: &Uri, headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let authorization = all.next().ok_or_else(ApiError::unsigned)?;
        let incomplete = |what: &str| {
            ApiError::incomplete_signature(format!("Authorization header requires '{what}'."))
        };
        if all.next().is_some() {
            return Err(incomplete("one value"));
        }
        let text = authorization.to_str().map_err(|_| incomplete("plain text"))?;
        let rest = text.strip_prefix(ALGORITHM).filter(|rest| rest.starts_with(' '));
        let rest = rest.ok_or_else(|| incomplete(ALGORITHM))?;
        if rest.split(',').count() != 3 {
            return Err(incomplete("Credential, SignedHeaders and Signature, each once"));
        }
        let part = |name: &str| {
            let parts = rest.split(',').filter_map(|part| part.trim_matches(' ').split_once('='));
            let mut found = parts.filter(|(key, _)| *key == name).map(|(_, value)| value);
            found.next().ok_or_else(|| incomplete(name))
        };
        let credential: Vec<&str> = part("Credential")?.split('/').collect();
        let [key, day, region, service, "aws4_request"] = credential[..] else {
            return Err(incomplete("Credential"));
        };
        let names = part("SignedHeaders")?;
        let signature = part("Signature")?;
        let signature = unhex(signature).ok_or_else(|| incomplete("Signature"))?;
        let text_of = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let date = text_of("x-amz-date").ok_or_else(|| incomplete("x-amz-date"))?;
        let millis = millis(date).filter(|_| date.starts_with(day) && day.len() == 8);
        let millis = millis.ok_or_else(|| incomplete("a date that fits Credential"))?;
        Ok(Self {
            key: key.to_owned(),
            token: text_of("x-amz-security-token").map(str::to_owned),
            date: date.to_owned(),
            millis,
            region: region.to_owned(),
            service: service.to_owned(),
            canonical: canonical(method, uri, headers, names)?,
            announced_hash: text_of("x-amz-content-sha256").map(str::to_owned),
            signature,
        })
    }

    /// Was this head, with this body, signed with this secret? Takes as long for any signature.
    pub(super) fn is_signed_with(&self, secret: &str, payload: &[u8]) -> bool {
        let hash = hex(&Sha256::digest(payload));
        if self.announced_hash.as_ref().is_some_and(|announced| *announced != hash) {
            return false;
        }
        // Compares in constant time.
        self.code(secret, &hash).verify_slice(&self.signature).is_ok()
    }

    /// The code that the signature has to be, for a payload with this hash.
    fn code(&self, secret: &str, hash: &str) -> Hmac<Sha256> {
        let day = &self.date[..8];
        let canonical = hex(&Sha256::digest(format!("{}\n{hash}", self.canonical)));
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{canonical}", self.date);
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [day, self.region.as_str(), self.service.as_str(), "aws4_request"] {
            key = mac(&key, part.as_bytes()).finalize().into_bytes().to_vec();
        }
        mac(&key, to_sign.as_bytes())
    }

    /// Refuses a signature of more than five minutes ago, or as far ahead.
    pub(super) fn check_time(&self, now_millis: u64) -> Result<(), ApiError> {
        let skew = CLOCK_SKEW.as_millis() as u64;
        let now = basic(now_millis);
        if self.millis + skew < now_millis {
            return Err(ApiError::stale_signature(format!(
                "Signature expired: {} is now earlier than {} ({now} - 5 min.)",
                self.date,
                basic(now_millis - skew),
            )));
        }
        if self.millis > now_millis + skew {
            return Err(ApiError::stale_signature(format!(
                "Signature not yet current: {} is still later than {} ({now} + 5 min.)",
                self.date,
                basic(now_millis + skew),
            )));
        }
        Ok(())
    }
}

/// The canonical request, up to the names of the signed headers.
fn canonical(
    method: &str,
    uri: &Uri,
    headers: &HeaderMap,
    names: &str,
) -> Result<String, ApiError> {
    let mut text = format!("{method}\n{}\n{}\n", uri.path(), uri.query().unwrap_or_default());
    let mut last = "";
    for name in names.split(';') {
        let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        if name <= last || !is_lower {
            let what = "SignedHeaders must be lowercase, sorted, and named once.";
            return Err(ApiError::incomplete_signature(what));
        }
        last = name;
        let mut values: Vec<String> = Vec::new();
        for value in headers.get_all(name) {
            let value = value.to_str().map_err(|_| {
                ApiError::incomplete_signature(format!("'{name}' is no plain text."))
            })?;
            values.push(value.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        }
        // HTTP/2 has the host elsewhere.
        if values.is_empty() && name == HOST.as_str() {
            values.extend(uri.authority().map(|authority| authority.to_string()));
        }
        if values.is_empty() {
            let what = format!("'{name}' is signed and not in the request.");
            return Err(ApiError::incomplete_signature(what));
        }
        text.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    Ok(format!("{text}\n{names}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    // One way to write it: what is accepted is what was signed, to the letter.
    if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    pairs.collect::<Result<_, _>>().ok()
}

/// Unix milliseconds of `20260101T000000Z`.
fn millis(text: &str) -> Option<u64> {
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    if day.len() != 8 || time.len() != 6 || !is_digits(day) || !is_digits(time) {
        return None;
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let (year, month, day) = (number(&day[..4])?, number(&day[4..6])?, number(&day[6..])?);
    let (hour, minute, second) = (number(&time[..2])?, number(&time[2..4])?, number(&time[4..])?);
    let is_real = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    // Before the arithmetic: the year 0 has none before it.
    if !is_real {
        return None;
    }
    // Days since 1970 in years that begin in March, so that the leap day is their last.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    let days = days.checked_sub(719_469)?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `20260101T000000Z` of Unix milliseconds.
fn basic(millis: u64) -> String {
    // "Thu, 01 Jan 2026 00:00:00 GMT"
    let form = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(millis));
    let month = MONTHS.iter().position(|month| *month == &form[8..11]).unwrap_or(0) + 1;
    let (year, day, time) = (&form[12..16], &form[5..7], form[17..25].replace(':', ""));
    format!("{year}{month:02}{day}T{time}Z")
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "sigv4_fuzz.rs"]
mod fuzz;
