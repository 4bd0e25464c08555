//! The file of keys.

use std::fmt;

use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit, Mac};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::Sha256;

use super::policy::{Policy, Written};

/// Who may sign requests, and what each may do. Read from a file like this:
///
/// ```toml
/// [[key]]
/// name = "producer"
/// id = "AKIDPRODUCER"
/// secret = "..."          # 16 characters or more
/// # session_token = "..." # if requests are to carry one
///
/// [[key.statement]]
/// Effect = "Allow"
/// Action = ["kinesis:PutRecord", "kinesis:PutRecords", "kinesis:Describe*"]
/// Resource = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
/// ```
/// Statements are those of IAM policies: `*` and `?` stand for any characters, `Deny` wins, what no
/// statement allows is refused. Operations that name no stream need `Resource = "*"`. Elements that
/// are not known here (`Condition`, `NotAction`, ...) are refused when the file is read.
#[derive(Clone)]
pub struct AccessKeys {
    keys: Vec<AccessKey>,
}

/// One key.
#[derive(Clone)]
pub(crate) struct AccessKey {
    pub(super) name: String,
    id: String,
    pub(super) secret: String,
    session_token: Option<String>,
    pub(super) policy: Policy,
}

/// Why a file of keys cannot be used. It names no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    id: String,
    secret: Secret,
    session_token: Option<Secret>,
    #[serde(default)]
    statement: Vec<Written>,
}

/// A text that no error may show.
struct Secret(String);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(SecretVisitor).map(Self)
    }
}

/// Serde's own refusal of another type shows the value, which is then the secret without quotes.
struct SecretVisitor;

fn unquoted<T, E: Error>() -> Result<T, E> {
    Err(E::custom("a secret or token that is no text: write it in quotes"))
}

impl Visitor<'_> for SecretVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }
    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
    fn visit_string<E>(self, text: String) -> Result<String, E> {
        Ok(text)
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<String, E> {
        unquoted()
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<String, E> {
        unquoted()
    }
    fn visit_i128<E: Error>(self, _: i128) -> Result<String, E> {
        unquoted()
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<String, E> {
        unquoted()
    }
    fn visit_u128<E: Error>(self, _: u128) -> Result<String, E> {
        unquoted()
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<String, E> {
        unquoted()
    }
    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<String, E> {
        unquoted()
    }
}

/// Characters a secret has at least: 16 random ones cannot be guessed.
const SECRET_CHARS: usize = 16;

impl AccessKeys {
    /// Reads the text of a file of keys.
    ///
    /// # Errors
    /// [`KeysError`] says what is wrong and in which key.
    pub fn from_toml(text: &str) -> Result<Self, KeysError> {
        // The whole error shows the line, which may be that of a secret.
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start].lines().count());
            KeysError(format!("line {line}: {}", error.message()))
        })?;
        if file.key.is_empty() {
            return Err(KeysError("there is no [[key]] in it: nobody could ask".into()));
        }
        let mut keys: Vec<AccessKey> = Vec::new();
        for entry in file.key {
            let wrong = |what: &str| KeysError(format!("key {}: {what}", entry.id));
            if entry.secret.0.chars().count() < SECRET_CHARS {
                return Err(wrong(&format!("its secret has fewer than {SECRET_CHARS} characters")));
            }
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if entry.id.is_empty() || !entry.id.chars().all(is_plain) {
                return Err(wrong("an id has letters, digits, _ and -"));
            }
            if keys.iter().any(|key| key.id == entry.id) {
                return Err(wrong("it is there twice"));
            }
            let policy = Policy::new(entry.statement).map_err(|what| wrong(&what))?;
            keys.push(AccessKey {
                name: entry.name.unwrap_or_else(|| entry.id.clone()),
                id: entry.id,
                secret: entry.secret.0,
                session_token: entry.session_token.map(|Secret(token)| token),
                policy,
            });
        }
        Ok(Self { keys })
    }

    pub(super) fn find(&self, id: &str) -> Option<&AccessKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

impl AccessKey {
    /// True if a request carries this key's session token, or none where there is none.
    pub(super) fn has_token(&self, token: Option<&str>) -> bool {
        match (&self.session_token, token) {
            (None, None) => true,
            (Some(own), Some(token)) => is_same(own.as_bytes(), token.as_bytes()),
            _ => false,
        }
    }
}

/// Compares without telling by the time it takes where the two differ.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    let digest = |bytes: &[u8]| -> CtOutput<Hmac<Sha256>> { mac(b"compare", bytes).finalize() };
    digest(one) == digest(other)
}

/// A code of these bytes under this key.
pub(super) fn mac(key: &[u8], bytes: &[u8]) -> Hmac<Sha256> {
    // Keys of any length are taken.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    mac.update(bytes);
    mac
}

impl fmt::Debug for AccessKeys {
    /// Leaves secrets out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_wrong_is_refused_without_telling_secrets() {
        let long = "0123456789abcdef";
        let key = |rest: &str| format!("[[key]]\nid = \"AK\"\nsecret = \"{long}\"\n{rest}");
        let statement = |rest: &str| key(&format!("[[key.statement]]\n{rest}"));
        let secret = |value: &str| format!("[[key]]\nid = \"AK\"\nsecret = {value}");
        for (text, says) in [
            (String::new(), "no [[key]]"),
            ("[[key]]\nid = \"AK\"\nsecret = \"short\"".into(), "fewer than 16"),
            (key(&key("")), "twice"),
            (key("sekret = 1"), "unknown field"),
            (secret(long), "line 3"),
            (secret("1234567890123456"), "line 3: a secret or token that is no text"),
            (secret("12345678901234567890"), "line 3"),
            (secret("0x1234567890123456"), "line 3"),
            (secret("1234567890123456.5"), "line 3"),
            (secret("1979-12-31T12:34:56Z"), "line 3"),
            (secret("[1234567890123456]"), "line 3"),
            (key("session_token = 1234567890123456"), "line 4"),
            (statement("Effect = \"Allow\"\nAction = \"*\""), "Resource"),
            (statement("Effect = \"Maybe\"\nAction = \"*\"\nResource = \"*\""), "Maybe"),
            (statement("Effect = \"Allow\"\nNotAction = \"*\"\nResource = \"*\""), "NotAction"),
            (statement("Effect = \"Allow\"\nAction = \"s3:*\"\nResource = \"*\""), "s3:*"),
        ] {
            let error = AccessKeys::from_toml(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
            for shown in [long, "123456", "1311768467284833366", "12:34:56"] {
                assert!(!error.contains(shown), "{error}");
            }
        }
        let read = AccessKeys::from_toml(&key("")).unwrap();
        assert_eq!(format!("{read:?}"), "[\"AK\"]");
    }
}
