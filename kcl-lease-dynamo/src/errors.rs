//! What the service answers, sorted by what the caller may conclude.

use std::error::Error;
use std::fmt::Display;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use kcl_core::TableError;
use kcl_core::causes::{in_one_line, never_connected};

/// Whether a request can change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    Read,
    Write,
}

impl Intent {
    /// No usable answer came: a write may have applied, a read certainly changed nothing.
    pub fn no_answer(self, what: impl Display) -> TableError {
        match self {
            Self::Read => TableError::Unavailable(what.to_string()),
            Self::Write => TableError::Unknown(what.to_string()),
        }
    }
}

/// Sorts an error that is not a failed condition.
pub(crate) fn classify<E>(
    error: &SdkError<E, HttpResponse>,
    intent: Intent,
    table: &str,
) -> TableError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let said = in_one_line(error);
    match error {
        SdkError::ConstructionFailure(_) => {
            TableError::Refused(format!("a request to {table} cannot be built: {said}"))
        }
        SdkError::DispatchFailure(failure) => {
            let never_sent = failure
                .as_connector_error()
                .is_some_and(|error| never_connected(error) || failure.is_user());
            if never_sent { TableError::Unavailable(said) } else { intent.no_answer(said) }
        }
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = answer.err().code().unwrap_or_default();
            by_code(code, status, intent, table, answer.err().message().unwrap_or(&said))
        }
        // A timeout, or an answer that cannot be read.
        _ => intent.no_answer(said),
    }
}

fn by_code(code: &str, status: u16, intent: Intent, table: &str, message: &str) -> TableError {
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException" => TableError::Throttled,
        // Too many tables, tags, or changes of tables at once: which it is stands in the message.
        "LimitExceededException" => TableError::Unavailable(format!(
            "a limit of the service stands before table {table}: {message}"
        )),
        "TransactionConflictException" | "ReplicatedWriteConflictException" => TableError::Conflict,
        // The same request is under way, sent twice by the network: that one decides.
        "TransactionInProgressException" => intent.no_answer(format!("{code}: {message}")),
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => TableError::Unavailable(
            format!("the credentials for {table} have expired and were not renewed yet: {message}"),
        ),
        "ResourceNotFoundException" => TableError::Refused(format!(
            "table {table} does not exist in this account and region; make it with the set-up \
             step, or check region, credentials and application name ({message})"
        )),
        "AccessDeniedException"
        | "AccessDenied"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized" => TableError::Refused(format!(
            "the credentials may not use table {table}; give them the run policy of \
             docs/policies, and check this machine's clock ({code}: {message})"
        )),
        _ if status >= 500 => intent.no_answer(format!("{status} {code} from {table}: {message}")),
        _ => TableError::Refused(format!("table {table}: {code}: {message}")),
    }
}
