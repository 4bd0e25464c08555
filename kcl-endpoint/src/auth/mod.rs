//! Who asks, and what they may do: AWS Signature Version 4, and rules for each key in the shape of
//! IAM policy documents.

mod keys;
mod policy;
mod resources;
mod sigv4;

pub use keys::{AccessKeys, KeysError};
pub(crate) use resources::resources;
pub(crate) use sigv4::Signed;

use crate::error::ApiError;
use crate::limits::ACCOUNT;
use policy::Verdict;

impl AccessKeys {
    /// The key that a head says it is signed with, if that is one of these and the time is now.
    /// Whoever has no key is refused here, before a body of theirs takes memory.
    pub(crate) fn admit(
        &self,
        signed: &Signed,
        now_millis: u64,
    ) -> Result<&keys::AccessKey, ApiError> {
        let key = self.find(&signed.key).ok_or_else(ApiError::unknown_key)?;
        if !key.has_token(signed.token.as_deref()) {
            return Err(ApiError::unknown_key());
        }
        signed.check_time(now_millis)?;
        Ok(key)
    }
}

impl keys::AccessKey {
    /// Checks the signature of a request with this body.
    pub(crate) fn verify(&self, signed: &Signed, payload: &[u8]) -> Result<(), ApiError> {
        if signed.is_signed_with(&self.secret, payload) {
            return Ok(());
        }
        Err(ApiError::wrong_signature())
    }

    /// Refuses an operation on any resource that this key's rules do not allow.
    pub(crate) fn authorize(&self, operation: &str, resources: &[String]) -> Result<(), ApiError> {
        let action = format!("kinesis:{operation}");
        for resource in resources {
            let because = match self.policy.judge(&action, resource) {
                Verdict::Allowed => continue,
                Verdict::Denied => format!("with an explicit deny for {action}"),
                Verdict::NotAllowed => {
                    format!("because no identity-based policy allows the {action} action")
                }
            };
            return Err(ApiError::not_authorized(format!(
                "User: arn:aws:iam::{ACCOUNT}:user/{} is not authorized to perform: {action} on \
                 resource: {resource} {because}",
                self.name
            )));
        }
        Ok(())
    }
}
