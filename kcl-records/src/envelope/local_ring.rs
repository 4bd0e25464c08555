//! A key ring in a file or an environment variable.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use super::data_key::KEY_BYTES;
use super::wire::TAG_BYTES;
use super::{DataKey, KeyRing, KeyRingError, NewKey};
use crate::limits::KEY_FILE_BYTES;

/// Keys of one's own: the primary one wraps new data keys, each of them unwraps.
///
/// As TOML, or as JSON with the same names; each key is 32 random bytes in base64
/// (`openssl rand -base64 32`):
///
/// ```toml
/// primary = "2026-11"
///
/// [keys]
/// 2026-05 = "..."
/// 2026-11 = "..."
/// ```
///
/// To change keys: add one everywhere, then make it the primary one where records are sealed, and
/// drop the old one once the stream retains nothing sealed with it.
pub struct LocalKeyRing {
    primary: String,
    keys: BTreeMap<String, LessSafeKey>,
}

/// Why there is no key ring. Shows no part of the keys.
#[derive(Debug, thiserror::Error)]
pub enum LocalKeyRingError {
    /// As the file system has it.
    #[error("the key ring cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Others may read the file: `chmod 600` it.
    #[error("the key ring may be read by others (mode {0:o}): allow its owner alone, chmod 600")]
    OpenToOthers(u32),
    /// No such variable, or no text in it.
    #[error("the environment variable {0} is not set to a key ring")]
    NoVariable(String),
    /// Neither TOML nor JSON of the form above.
    #[error("no key ring: expected TOML or JSON with `primary` and a table `keys`{0}")]
    Malformed(String),
    /// A key that is not 32 bytes in base64, or whose id is not 1 to 255 bytes long.
    #[error("key {0:?} is not 32 bytes in base64 under an id of 1 to 255 bytes")]
    BadKey(String),
    /// The primary key is not among the keys.
    #[error("the primary key {0:?} is not among the keys")]
    NoPrimary(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    primary: String,
    keys: BTreeMap<String, String>,
}

impl Drop for Text {
    fn drop(&mut self) {
        self.keys.values_mut().for_each(Zeroize::zeroize);
    }
}

impl LocalKeyRing {
    /// Reads a ring from a file that its owner alone may read.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, LocalKeyRingError> {
        let file = File::open(path)?;
        refuse_others(&file)?;
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES));
        file.take(KEY_FILE_BYTES as u64).read_to_string(&mut text)?;
        Self::from_text(&text)
    }

    /// Reads a ring from an environment variable, which holds what the file would.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn from_env(variable: &str) -> Result<Self, LocalKeyRingError> {
        let text = std::env::var(variable).map(Zeroizing::new);
        Self::from_text(&text.map_err(|_| LocalKeyRingError::NoVariable(variable.into()))?)
    }

    /// Reads a ring from a text: JSON if it begins with `{`, else TOML.
    ///
    /// # Errors
    /// Says what is wrong with it, and shows nothing of it but ids and a line number.
    pub fn from_text(text: &str) -> Result<Self, LocalKeyRingError> {
        // The parsers' own messages quote the text.
        let text: Text = if text.trim_start().starts_with('{') {
            serde_json::from_str(text)
                .map_err(|error| LocalKeyRingError::Malformed(near(error.line())))?
        } else {
            toml::from_str(text).map_err(|error| {
                let line = |at: std::ops::Range<usize>| {
                    near(
                        text.as_bytes()[..at.start].iter().filter(|byte| **byte == b'\n').count()
                            + 1,
                    )
                };
                LocalKeyRingError::Malformed(error.span().map(line).unwrap_or_default())
            })?
        };
        let key = |(id, key): (&String, &String)| {
            let bad = || LocalKeyRingError::BadKey(id.clone());
            let bytes = Zeroizing::new(STANDARD.decode(key.trim()).map_err(|_| bad())?);
            if bytes.len() != KEY_BYTES || id.is_empty() || id.len() > usize::from(u8::MAX) {
                return Err(bad());
            }
            let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| bad())?;
            Ok((id.clone(), LessSafeKey::new(key)))
        };
        let keys = text.keys.iter().map(key).collect::<Result<BTreeMap<_, _>, _>>()?;
        if !keys.contains_key(&text.primary) {
            return Err(LocalKeyRingError::NoPrimary(text.primary.clone()));
        }
        Ok(Self { primary: text.primary.clone(), keys })
    }

    fn key(&self, id: &str) -> Result<&LessSafeKey, KeyRingError> {
        self.keys.get(id).ok_or_else(|| KeyRingError::UnknownKey(id.into()))
    }
}

impl std::fmt::Debug for LocalKeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalKeyRing(primary {:?} of {:?})", self.primary, self.keys.keys())
    }
}

#[async_trait]
impl KeyRing for LocalKeyRing {
    async fn generate(&self, stream: &str) -> Result<NewKey, KeyRingError> {
        let failed = || KeyRingError::Unavailable("no randomness".into());
        let wrapping = self.key(&self.primary)?;
        let key = DataKey::random().ok_or_else(failed)?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| failed())?;
        let mut wrapped = nonce.to_vec();
        wrapped.extend(key.as_bytes());
        let (nonce, bound) = (Nonce::assume_unique_for_key(nonce), bound(&self.primary, stream));
        let sealed = wrapping.seal_in_place_separate_tag(nonce, bound, &mut wrapped[NONCE_LEN..]);
        wrapped.extend(sealed.map_err(|_| failed())?.as_ref());
        Ok(NewKey { key_id: self.primary.clone(), wrapped, key })
    }

    async fn unwrap(
        &self,
        key_id: &str,
        wrapped: &[u8],
        stream: &str,
    ) -> Result<DataKey, KeyRingError> {
        let refused = || {
            let why = "the data key was wrapped by another key, or for another stream";
            KeyRingError::Refused(why.into())
        };
        let wrapping = self.key(key_id)?;
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>().ok_or_else(refused)?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or_else(refused)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if sealed.len() != KEY_BYTES {
            return Err(refused());
        }
        let (nonce, bound) = (Nonce::assume_unique_for_key(*nonce), bound(key_id, stream));
        wrapping
            .open_separate_gather(nonce, bound, sealed, tag, &mut key[..])
            .map_err(|_| refused())?;
        DataKey::from_bytes(&key[..]).ok_or_else(refused)
    }
}

/// What a wrapped data key is bound to. An id has at most 255 bytes.
fn bound(key_id: &str, stream: &str) -> Aad<Vec<u8>> {
    let mut bound = b"kcl-records data key 1".to_vec();
    bound.push(key_id.len() as u8);
    bound.extend(key_id.as_bytes());
    bound.extend(stream.as_bytes());
    Aad::from(bound)
}

fn near(line: usize) -> String {
    format!(", near line {line}")
}

#[cfg(unix)]
fn refuse_others(file: &File) -> Result<(), LocalKeyRingError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(LocalKeyRingError::OpenToOthers(mode)) }
}

/// Elsewhere the folder has to guard it.
#[cfg(not(unix))]
fn refuse_others(_: &File) -> Result<(), LocalKeyRingError> {
    Ok(())
}
