//! What the service answers, sorted by what the reader does about it.

use std::error::Error;

use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError as EventError;
use kcl_core::SourceError;
use kcl_core::causes::in_one_line;

use crate::api::{ReadError, SubscriptionError};
use crate::limits::{REFUSED_PAUSE, TAKEN_OVER_PAUSE, THROTTLE_PAUSE};

/// Sorts an error of a request about `what`.
pub(super) fn classify<E>(error: &SdkError<E, HttpResponse>, what: &str) -> SourceError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => SourceError::Refused(format!(
            "a request about {what} cannot be built: {}",
            in_one_line(error)
        )),
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = answer.err().code().unwrap_or_default();
            by_code(code, status, what, answer.err().message().unwrap_or_default())
        }
        _ => SourceError::Unavailable(in_one_line(error)),
    }
}

/// Sorts an error of a read. Its one argument that is not the same each time is the place.
pub(super) fn classify_read<E>(error: &SdkError<E, HttpResponse>, what: &str) -> ReadError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match (error.as_service_error().and_then(ProvideErrorMetadata::code), classify(error, what)) {
        (Some("InvalidArgumentException"), SourceError::Refused(why)) => {
            ReadError::PlaceRefused(why)
        }
        (_, error) => error.into(),
    }
}

/// Sorts an error of a new subscription. In use is a subscription that is too young to be taken
/// over: of the worker that had the shard before, as a rule.
pub(super) fn classify_subscribe<E>(
    error: &SdkError<E, HttpResponse>,
    what: &str,
) -> SubscriptionError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some(IN_USE) => SubscriptionError::InUse { retry_after: REFUSED_PAUSE },
        _ => classify(error, what).into(),
    }
}

const IN_USE: &str = "ResourceInUseException";
const ABOVE_LIMIT: &str = "LimitExceededException";
const KEY_DENIED: &str = "KMSAccessDeniedException";

/// Sorts an error of registering a consumer. Above a limit are the consumers of the stream, as a
/// rule, and not the rate: nobody would hear of a throttle what there is to do.
pub(super) fn classify_registering<E>(error: &SdkError<E, HttpResponse>, what: &str) -> SourceError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error.as_service_error() {
        Some(told) if told.code() == Some(ABOVE_LIMIT) => {
            unavailable(ABOVE_LIMIT, what, told.message().unwrap_or_default())
        }
        _ => classify(error, what),
    }
}

/// Sorts an error of a page of a listing: a token that has expired is got anew with the first page.
pub(super) fn classify_listing<E>(error: &SdkError<E, HttpResponse>, what: &str) -> SourceError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some("ExpiredNextTokenException") => {
            SourceError::Unavailable(format!("listing {what} took too long: its token has expired"))
        }
        _ => classify(error, what),
    }
}

/// Sorts an error that ended a subscription. Whether shard, consumer or stream is gone, the next
/// subscription tells.
pub(super) fn classify_event<R>(error: &SdkError<EventError, R>, what: &str) -> SubscriptionError
where
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let Some(told) = error.as_service_error() else {
        return SourceError::Unavailable(in_one_line(error)).into();
    };
    let (code, message) = (event_code(told), told.message().unwrap_or_default());
    if code == IN_USE {
        return SubscriptionError::InUse { retry_after: TAKEN_OVER_PAUSE };
    }
    if code.is_empty() {
        // Of a type that the client does not know, and so without its name: nothing says that the
        // next subscription has to fail too.
        return unavailable("an unknown exception", what, &in_one_line(error)).into();
    }
    match by_code(code, 200, what, message) {
        SourceError::NotFound(_) | SourceError::Expired => unavailable(code, what, message).into(),
        error => error.into(),
    }
}

/// The client names the code of an error in an event by its type alone.
fn event_code(error: &EventError) -> &str {
    match error {
        EventError::ResourceNotFoundException(_) => "ResourceNotFoundException",
        EventError::ResourceInUseException(_) => IN_USE,
        EventError::InternalFailureException(_) => "InternalFailureException",
        EventError::KmsThrottlingException(_) => "KMSThrottlingException",
        EventError::KmsAccessDeniedException(_) => KEY_DENIED,
        EventError::KmsDisabledException(_) => "KMSDisabledException",
        EventError::KmsInvalidStateException(_) => "KMSInvalidStateException",
        EventError::KmsNotFoundException(_) => "KMSNotFoundException",
        EventError::KmsOptInRequired(_) => "KMSOptInRequired",
        other => other.code().unwrap_or_default(),
    }
}

fn unavailable(code: &str, what: &str, message: &str) -> SourceError {
    SourceError::Unavailable(format!("{code} for {what}: {message}"))
}

/// Has all codes that the client would try again by itself (aws-runtime, `retries/classifiers.rs`)
/// but those of EC2 and of transactions: its retries are off.
fn by_code(code: &str, status: u16, what: &str, message: &str) -> SourceError {
    match code {
        "ExpiredIteratorException" => SourceError::Expired,
        "ResourceNotFoundException" => SourceError::NotFound(what.to_owned()),
        ABOVE_LIMIT
        | "ProvisionedThroughputExceededException"
        | "KMSThrottlingException"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete"
        | "SlowDown" => throttled(code, what, message),
        IN_USE
        | "InternalFailureException"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "RequestExpired"
        | "RequestTimeout"
        | "RequestTimeoutException" => unavailable(code, what, message),
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException" => SourceError::Refused(format!(
            "the credentials may not read {what}; allow kinesis:DescribeStreamSummary and \
             ListShards on it, by polling also GetShardIterator and GetRecords, by fan-out also \
             DescribeStreamConsumer, RegisterStreamConsumer and SubscribeToShard, and check this \
             machine's clock ({code}: {message})"
        )),
        KEY_DENIED => SourceError::Refused(format!(
            "the credentials may not use the key by which {what} is encrypted; allow kms:Decrypt \
             on it ({code}: {message})"
        )),
        _ if status == 429 => throttled(code, what, message),
        _ if status == 408 || status >= 500 => {
            unavailable(&format!("{status} {code}"), what, message)
        }
        _ => SourceError::Refused(format!("{what}: {code}: {message}")),
    }
}

/// The error has no room for the reason.
fn throttled(code: &str, what: &str, message: &str) -> SourceError {
    tracing::debug!(code, what, message, "refused for the rate");
    SourceError::Throttled { retry_after: THROTTLE_PAUSE }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::error::ErrorMetadata;
    use aws_sdk_kinesis::operation::list_shards::ListShardsError;
    use aws_sdk_kinesis::types::error::{
        KmsAccessDeniedException, KmsDisabledException, KmsInvalidStateException,
        KmsNotFoundException, KmsOptInRequired,
    };

    use super::*;

    #[test]
    fn not_found_is_never_the_end_of_a_shard_and_rates_are_waited_out() {
        let sort = |code, status| by_code(code, status, "shard s", "why");
        assert_eq!(sort("ResourceNotFoundException", 400), SourceError::NotFound("shard s".into()));
        assert_eq!(sort("ExpiredIteratorException", 400), SourceError::Expired);
        assert!(sort("ProvisionedThroughputExceededException", 400).is_transient());
        assert!(sort("InternalFailure", 500).is_transient());
        assert!(sort("InternalFailureException", 200).is_transient(), "inside an event stream");
        assert!(sort("ExpiredTokenException", 400).is_transient());
        let refused = sort("AccessDeniedException", 400).to_string();
        assert!(refused.contains("kinesis:DescribeStreamSummary"), "{refused}");
        assert!(refused.contains("by polling also GetShardIterator and GetRecords"), "{refused}");
        let refused = sort("InvalidArgumentException", 400).to_string();
        assert!(refused.contains("shard s") && refused.contains("why"), "{refused}");
    }

    #[test]
    fn what_the_client_would_try_again_by_itself_is_tried_again() {
        let sort = |code, status| by_code(code, status, "shard s", "why");
        for code in [
            "ProvisionedThroughputExceededException",
            "LimitExceededException",
            "KMSThrottlingException",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "RequestLimitExceeded",
            "TooManyRequestsException",
            "BandwidthLimitExceeded",
            "PriorRequestNotComplete",
            "SlowDown",
        ] {
            assert!(matches!(sort(code, 400), SourceError::Throttled { .. }), "{code}");
        }
        for code in ["RequestTimeout", "RequestTimeoutException"] {
            assert!(matches!(sort(code, 400), SourceError::Unavailable(_)), "{code}");
        }
        // Of a load balancer or proxy on the way, which has no code or its own.
        for code in ["", "Unknown"] {
            assert!(matches!(sort(code, 429), SourceError::Throttled { .. }), "{code}");
            for status in [408, 500, 502, 503, 504] {
                assert!(matches!(sort(code, status), SourceError::Unavailable(_)), "{status}");
            }
            assert!(matches!(sort(code, 400), SourceError::Refused(_)), "{code}");
        }
    }

    fn meta() -> ErrorMetadata {
        ErrorMetadata::builder().message("why").build()
    }

    /// What is made of an error inside an event stream.
    fn sorted(error: EventError) -> SourceError {
        match classify_event(&SdkError::service_error(error, ()), "shard s") {
            SubscriptionError::Other(error) => error,
            in_use @ SubscriptionError::InUse { .. } => panic!("{in_use:?}"),
        }
    }

    #[test]
    fn an_exception_of_an_unknown_type_in_an_event_stream_is_no_reason_to_stop() {
        let error = sorted(EventError::generic(meta()));
        assert!(matches!(error, SourceError::Unavailable(_)), "{error:?}");
        assert!(error.to_string().contains("why"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_streams_key_is_named() {
        let disabled = KmsDisabledException::builder().meta(meta()).build();
        let state = KmsInvalidStateException::builder().meta(meta()).build();
        let missing = KmsNotFoundException::builder().meta(meta()).build();
        let opt_in = KmsOptInRequired::builder().meta(meta()).build();
        for (error, name) in [
            (EventError::KmsDisabledException(disabled), "KMSDisabledException"),
            (EventError::KmsInvalidStateException(state), "KMSInvalidStateException"),
            (EventError::KmsNotFoundException(missing), "KMSNotFoundException"),
            (EventError::KmsOptInRequired(opt_in), "KMSOptInRequired"),
        ] {
            let why = format!("shard s: {name}: why");
            assert_eq!(sorted(error), SourceError::Refused(why));
        }
    }

    #[test]
    fn a_key_that_may_not_be_used_is_told_from_a_stream_that_may_not_be_read() {
        let denied = KmsAccessDeniedException::builder().meta(meta()).build();
        let in_stream = sorted(EventError::KmsAccessDeniedException(denied));
        for error in [in_stream, by_code("KMSAccessDeniedException", 400, "shard s", "why")] {
            let SourceError::Refused(why) = error else { panic!("{error:?}") };
            assert!(why.contains("allow kms:Decrypt") && !why.contains("kinesis:"), "{why}");
        }
    }

    #[test]
    fn a_listing_whose_token_has_expired_is_tried_again_and_one_that_is_refused_is_not() {
        let answer = || HttpResponse::new(400.try_into().unwrap(), "".into());
        let failed = |code: &str| {
            let about = ErrorMetadata::builder().code(code).build();
            let error = SdkError::service_error(ListShardsError::generic(about), answer());
            classify_listing(&error, "stream s")
        };
        assert!(failed("ExpiredNextTokenException").is_transient());
        assert!(matches!(failed("InvalidArgumentException"), SourceError::Refused(_)));
    }
}
