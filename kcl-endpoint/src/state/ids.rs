//! Streams by their ids.

use sha2::{Digest, Sha256};

use super::State;
use crate::error::ApiError;
use crate::limits::ACCOUNT;
use crate::names::{check_id, stream_of};

/// The id of a stream, which it keeps; one created again under its name has another.
pub(crate) fn id(stream: &str, created_at_millis: u64) -> String {
    const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let digest = Sha256::digest(format!("{stream} {created_at_millis}"));
    let digits: String =
        digest[..23].iter().map(|&byte| DIGITS[usize::from(byte) % 36] as char).collect();
    format!("{}-{}", &digits[..20], &digits[20..])
}

impl State {
    /// The name a request means. Its name or ARN goes first: ids are reserved on the service, and
    /// requests that name their stream are taken with any.
    pub fn named(
        &self,
        name: Option<&str>,
        arn: Option<&str>,
        id: Option<&str>,
    ) -> Result<String, ApiError> {
        check_id(id)?;
        match (name, arn, id) {
            (None, None, Some(id)) => self.name_of(id).ok_or_else(|| {
                let message = format!("Stream with id {id} under account {ACCOUNT} not found.");
                ApiError::not_found(message)
            }),
            (name, arn, _) => stream_of(name, arn),
        }
    }

    /// The name of the stream that has this id.
    pub fn name_of(&self, wanted: &str) -> Option<String> {
        self.engine.list_streams().into_iter().map(|name| name.as_str().to_owned()).find(|name| {
            let described = self.engine.stream(name).and_then(|stream| stream.describe());
            described.is_ok_and(|described| id(name, described.created_at_millis) == wanted)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_well_formed_and_of_one_stream() {
        assert!(check_id(Some(&id("a", 1))).is_ok());
        assert_ne!(id("a", 1), id("a", 2));
        assert_ne!(id("a", 1), id("b", 1));
    }
}
