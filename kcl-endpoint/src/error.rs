//! Errors as the service names them.

use std::borrow::Cow;

use hyper::StatusCode;
use kcl_stream_local::EngineError;

use crate::limits::SHOWN_CHARS;

/// An error on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    /// `__type`.
    pub name: &'static str,
    pub message: String,
}

/// Long values are cut: an error is read by people.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]).into(),
        None => text.into(),
    }
}

impl ApiError {
    fn bad(name: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, name, message: message.into() }
    }
    /// A member is missing, or outside what the model allows.
    pub fn validation(member: &str, value: &str, rule: &str) -> Self {
        Self::bad(
            "ValidationException",
            format!(
                "1 validation error detected: Value {value} at '{member}' failed to satisfy \
                 constraint: {rule}"
            ),
        )
    }
    /// A request that the model does not allow.
    pub fn invalid(message: &str) -> Self {
        Self::bad("ValidationException", message)
    }
    pub fn missing(member: &str) -> Self {
        Self::validation(member, "null", "Member must not be null")
    }
    /// A request that cannot be read. What reads it may show the whole value that is wrong.
    pub fn serialization(message: impl AsRef<str>) -> Self {
        Self::bad("SerializationException", cut(message.as_ref()))
    }
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::bad("InvalidArgumentException", message)
    }
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::bad("ResourceNotFoundException", message)
    }
    pub fn in_use(message: impl Into<String>) -> Self {
        Self::bad("ResourceInUseException", message)
    }
    pub fn limit_exceeded(message: impl Into<String>) -> Self {
        Self::bad("LimitExceededException", message)
    }
    pub fn throughput_exceeded(message: impl Into<String>) -> Self {
        Self::bad("ProvisionedThroughputExceededException", message)
    }
    /// The request would have succeeded.
    pub fn dry_run() -> Self {
        let message = "The request would have succeeded, but the DryRun flag is set.";
        Self::bad("DryRunOperationException", message)
    }
    pub fn expired_token() -> Self {
        Self::bad("ExpiredNextTokenException", "The pagination token has expired: list anew.")
    }
    pub fn unknown_operation(target: &str) -> Self {
        Self::bad("UnknownOperationException", format!("{target:?} is no operation of Kinesis."))
    }
    pub fn access_denied(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            name: "AccessDeniedException",
            message: message.into(),
        }
    }
    /// A request without a signature.
    pub fn unsigned() -> Self {
        let message = "Request is missing Authentication Token";
        Self::bad("MissingAuthenticationTokenException", message)
    }
    /// A signature that lacks something.
    pub fn incomplete_signature(what: impl Into<String>) -> Self {
        Self::bad("IncompleteSignatureException", what)
    }
    /// Signed with a key that nobody has.
    pub fn unknown_key() -> Self {
        let message = "The security token included in the request is invalid.";
        Self::bad("UnrecognizedClientException", message)
    }
    pub fn wrong_signature() -> Self {
        Self::bad(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check \
             your AWS Secret Access Key and signing method. Consult the service documentation for \
             details.",
        )
    }
    /// A signature of another time.
    pub fn stale_signature(message: impl Into<String>) -> Self {
        Self::bad("InvalidSignatureException", message)
    }
    /// Signed well, and not allowed.
    pub fn not_authorized(message: impl Into<String>) -> Self {
        Self::bad("AccessDeniedException", message)
    }
    pub fn too_slow() -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            name: "RequestTimeoutException",
            message: "The body of the request did not come in time.".into(),
        }
    }
    /// A request that its client gave up: nobody reads this.
    pub fn broken_off() -> Self {
        Self { message: "The body of the request broke off.".into(), ..Self::too_slow() }
    }
    /// Too much is under way to take more in.
    pub fn busy() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            name: "ServiceUnavailable",
            message: "Too many bytes of requests and answers are under way: try again.".into(),
        }
    }
    pub fn too_large(most: usize) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            name: "RequestEntityTooLargeException",
            message: format!("A request has at most {most} bytes."),
        }
    }
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            name: "InternalFailureException",
            message: message.into(),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error.kinesis_name() {
            "InternalFailure" => Self::internal(error.to_string()),
            name => Self::bad(name, error.to_string()),
        }
    }
}
