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
    /// Checks the signature of a request with this body; answers which key signed it.
    pub(crate) fn verify(
        &self,
        signed: &Signed,
        payload: &[u8],
        now_millis: u64,
    ) -> Result<&keys::AccessKey, ApiError> {
        let found = self.find(&signed.key);
        // An unknown key takes as long as a wrong signature.
        let secret = found.map_or(&*self.decoy, |key| &key.secret);
        let is_right = signed.is_signed_with(secret, payload);
        let key = found.ok_or_else(ApiError::unknown_key)?;
        let has_token = key.has_token(signed.token.as_deref());
        if !has_token {
            return Err(ApiError::unknown_key());
        }
        if !is_right {
            return Err(ApiError::wrong_signature());
        }
        signed.check_time(now_millis)?;
        Ok(key)
    }
}

impl keys::AccessKey {
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
