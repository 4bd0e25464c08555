//! Tokens for strangers: shard iterators and pages of listings, sealed so that nobody forges one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use kcl_stream_disk::DiskStore;
use kcl_stream_local::StoreError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The key of one endpoint: without a store tokens do not outlive it.
#[derive(Clone)]
pub(crate) struct Seal(Hmac<Sha256>, [u8; KEY]);

/// Bytes of the key, and of the code at the end of each token.
const KEY: usize = 32;
const MAC: usize = 32;

impl Seal {
    pub fn new() -> Self {
        let mut key = [0; KEY];
        // 122 random bits in each.
        for half in key.chunks_mut(16) {
            half.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        }
        Self::of(key)
    }

    fn of(key: [u8; KEY]) -> Self {
        // Keys of any length are taken.
        let hmac = Hmac::<Sha256>::new_from_slice(&key).unwrap_or_else(|_| unreachable!());
        Self(hmac, key)
    }

    /// The key this store has, or a new one, which it keeps: tokens outlive the process then.
    pub fn kept(store: &DiskStore) -> Result<Self, StoreError> {
        const NAME: &str = "token-key";
        let kept = store.value(NAME)?.and_then(|bytes| bytes.try_into().ok());
        if let Some(bytes) = kept {
            return Ok(Self::of(bytes));
        }
        let seal = Self::new();
        store.keep_value(NAME, &seal.1)?;
        Ok(seal)
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(body);
        mac
    }

    /// Seals a value.
    pub fn close<T: Serialize>(&self, value: &T) -> String {
        // Plain values of our own serialize.
        let mut bytes = serde_json::to_vec(value).unwrap_or_default();
        let mac = self.mac(&bytes).finalize().into_bytes();
        bytes.extend(mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The value, if it was sealed here.
    pub fn open<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        // Compares in constant time.
        self.mac(body).verify_slice(mac).ok()?;
        serde_json::from_slice(body).ok()
    }
}

/// A shard iterator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IteratorToken {
    /// Stream, by name.
    pub s: String,
    /// Its creation time.
    pub c: u64,
    /// Shard number.
    pub n: u32,
    /// The counter of the next record.
    pub p: u64,
    /// When it was given out.
    pub t: u64,
}

/// The next page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageToken {
    /// Which listing.
    pub of: String,
    /// The creation time of its stream; 0 if it is of no stream.
    pub created: u64,
    /// The last item of the page before.
    pub after: String,
    /// The request's filter, if it has one.
    pub filter: Option<String>,
    /// When it was given out.
    pub t: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_opens_where_it_was_sealed_and_nowhere_else() {
        let (seal, other) = (Seal::new(), Seal::new());
        let token = IteratorToken { s: "s".into(), c: 1, n: 2, p: 3, t: 4 };
        let text = seal.close(&token);
        assert!(text.len() <= 512, "as the service has it");
        assert_eq!(seal.open(&text), Some(token));
        assert_eq!(other.open::<IteratorToken>(&text), None);
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            let opened = seal.open::<IteratorToken>(&forged);
            // The last character has bits that mean nothing.
            assert!(opened.is_none() || at + 1 == text.len(), "at {at}");
        }
        assert_eq!(seal.open::<IteratorToken>(""), None);
    }

    proptest! {
        #[test]
        fn what_was_not_sealed_here_does_not_open(
            text in ".{0,120}", body in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let seal = Seal::new();
            prop_assert!(seal.open::<IteratorToken>(&text).is_none());
            prop_assert!(seal.open::<PageToken>(&URL_SAFE_NO_PAD.encode(&body)).is_none());
        }

        #[test]
        fn every_iterator_has_at_most_512_characters_and_comes_back(
            s in "[a-zA-Z0-9_.-]{1,128}", c: u64, n: u32, p: u64, t: u64,
        ) {
            let (seal, token) = (Seal::new(), IteratorToken { s, c, n, p, t });
            let text = seal.close(&token);
            prop_assert!(text.len() <= 512);
            prop_assert_eq!(seal.open(&text), Some(token));
            prop_assert!(seal.open::<PageToken>(&text).is_none(), "a page is no iterator");
        }
    }
}
