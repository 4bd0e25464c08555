//! A key ring whose keys stay in AWS KMS.

use std::collections::BTreeSet;
use std::error::Error;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;

use super::{DataKey, KeyRing, KeyRingError, NewKey};
use crate::limits::KMS_TIMEOUT;

/// The encryption context that binds a data key to its stream; key policies can ask for it.
const CONTEXT: &str = "kcl:stream";

/// Bytes of a wrapped key that KMS takes
/// (<https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>). Whoever may put
/// records may put others into them.
const WRAPPED_BYTES: RangeInclusive<usize> = 1..=6144;

/// Data keys made and unwrapped by AWS KMS.
///
/// Needs `kms:GenerateDataKey` on the primary key where records are sealed and `kms:Decrypt` on
/// each key where they are opened. One request makes a data key, and one unwraps it; both are kept
/// as [`Sealer`](super::Sealer) and [`Opener`](super::Opener) say.
pub struct KmsKeyRing {
    client: Client,
    primary: String,
    trusted: BTreeSet<String>,
}

impl KmsKeyRing {
    /// A ring of one key, by its ARN: an alias would not tell whose data keys to trust. Region,
    /// credentials, time-outs and retries are the client's: nobody else tries again to seal. An
    /// operation has 10 s if the client has no operation time-out.
    pub fn new(client: Client, key_arn: &str) -> Self {
        let trusted = BTreeSet::from([key_arn.to_owned()]);
        Self { client: bounded(client), primary: key_arn.to_owned(), trusted }
    }

    /// The same, also unwrapping data keys of this key: one that was the primary one, or a replica
    /// of a multi-Region key in another region. Data keys of any other key are refused, whoever
    /// made them.
    ///
    /// KMS knows the keys of its own region alone, which is that of the client and of the primary
    /// key: for a replica elsewhere it is asked with the one there, which is to be of the ring too.
    /// A key of another region that has none is never found.
    pub fn also_opens(mut self, key_arn: &str) -> Self {
        self.trusted.insert(key_arn.to_owned());
        self
    }

    /// The key to ask KMS with.
    fn here<'a>(&'a self, key_id: &'a str) -> &'a str {
        let here = replica_beside(key_id, &self.primary);
        here.and_then(|replica| self.trusted.get(&replica)).map_or(key_id, String::as_str)
    }
}

/// The ARN that a multi-Region key has in the region of another key.
fn replica_beside(key: &str, other: &str) -> Option<String> {
    let mut parts: Vec<_> = key.splitn(6, ':').collect();
    let region = other.split(':').nth(3)?;
    if !parts.get(5)?.starts_with("key/mrk-") {
        return None;
    }
    parts[3] = region;
    Some(parts.join(":"))
}

/// A client that answers at some time: all who seal wait for one answer.
fn bounded(client: Client) -> Client {
    let timeouts = client.config().timeout_config();
    if timeouts.is_some_and(|timeouts| timeouts.operation_timeout().is_some()) {
        return client;
    }
    let timeouts = TimeoutConfig::builder().operation_timeout(KMS_TIMEOUT).build();
    Client::from_conf(client.config().to_builder().timeout_config(timeouts).build())
}

impl std::fmt::Debug for KmsKeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KmsKeyRing(primary {:?} of {:?})", self.primary, self.trusted)
    }
}

#[async_trait]
impl KeyRing for KmsKeyRing {
    async fn generate(&self, stream: &str) -> Result<NewKey, KeyRingError> {
        let request = self.client.generate_data_key().key_id(&self.primary);
        let request = request.key_spec(DataKeySpec::Aes256).encryption_context(CONTEXT, stream);
        let made = request.send().await.map_err(|error| classify(&error, &self.primary))?;
        let key = made.plaintext.and_then(|key| DataKey::from_bytes(key.as_ref()));
        let key = key.ok_or_else(|| odd("no data key of 32 bytes"))?;
        let wrapped = made.ciphertext_blob.ok_or_else(|| odd("no wrapped key"))?.into_inner();
        // As it was asked for, so that the reader's list of trusted keys is the same as ours.
        Ok(NewKey { key_id: self.primary.clone(), wrapped, key })
    }

    async fn unwrap(
        &self,
        key_id: &str,
        wrapped: &[u8],
        stream: &str,
    ) -> Result<DataKey, KeyRingError> {
        if !self.trusted.contains(key_id) {
            return Err(KeyRingError::UnknownKey(key_id.to_owned()));
        }
        if !WRAPPED_BYTES.contains(&wrapped.len()) {
            let why = format!("KMS wraps no data key in {} bytes", wrapped.len());
            return Err(KeyRingError::Refused(why));
        }
        let key = self.here(key_id);
        let request = self.client.decrypt().key_id(key).ciphertext_blob(Blob::new(wrapped));
        let request = request.encryption_context(CONTEXT, stream);
        let opened = request.send().await.map_err(|error| match classify(&error, key) {
            // It is on the operator's list: the record is not to blame.
            KeyRingError::UnknownKey(key) => KeyRingError::Unavailable(format!(
                "KMS finds no key {key}; check that it was not deleted, and that it is of the \
                 region of the client, or a multi-Region key with a replica there in this ring"
            )),
            error => error,
        })?;
        let key = opened.plaintext.and_then(|key| DataKey::from_bytes(key.as_ref()));
        key.ok_or_else(|| KeyRingError::Refused("the data key has not 32 bytes".to_owned()))
    }
}

fn odd(what: &str) -> KeyRingError {
    KeyRingError::Unavailable(format!("KMS answered with {what}"))
}

/// Refused is only what no operator can mend: a record counts as unreadable then. Whatever a
/// policy, a disabled key or an outage does, waits.
fn classify<E>(error: &SdkError<E, HttpResponse>, key: &str) -> KeyRingError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        return KeyRingError::Unavailable(format!("{error}{cause}"));
    };
    let message = answer.err().message().unwrap_or_default();
    by_code(answer.err().code().unwrap_or("no code"), message, key)
}

fn by_code(code: &str, message: &str, key: &str) -> KeyRingError {
    match code {
        "NotFoundException" => KeyRingError::UnknownKey(key.to_owned()),
        "InvalidCiphertextException" | "IncorrectKeyException" => {
            let why = "the data key was wrapped by another key, or for another stream";
            KeyRingError::Refused(why.to_owned())
        }
        // A repeat of the same request is as wrong.
        "ValidationException" => KeyRingError::Refused(format!("{code}: {message}")),
        _ => KeyRingError::Unavailable(format!("{code}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_can_mend_is_waited_for() {
        let codes = ["DisabledException", "KMSInvalidStateException", "AccessDeniedException"];
        for code in codes.into_iter().chain(["ThrottlingException", "KMSInternalException"]) {
            assert!(matches!(by_code(code, "m", "k"), KeyRingError::Unavailable(_)), "{code}");
        }
        let refused = ["InvalidCiphertextException", "IncorrectKeyException"];
        for code in refused.into_iter().chain(["ValidationException"]) {
            assert!(matches!(by_code(code, "m", "k"), KeyRingError::Refused(_)), "{code}");
        }
        assert_eq!(by_code("NotFoundException", "m", "k"), KeyRingError::UnknownKey("k".into()));
    }
}
