//! Amazon Kinesis as a sink.

mod attempt;

use std::error::Error;
use std::fmt::Display;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry, Shard as WireShard};
use kcl_core::Shard;
use kcl_core::causes::in_one_line;
use kcl_core::protocol::{HashKeyRange, ShardId};

use self::attempt::{Attempt, never_connected};
use crate::limits::{LISTING_PAGES, RECORD_BYTES, REQUEST_TIMEOUT};
use crate::sink::{Outcome, Placed, PutSink, Refusal, SinkError, SinkLimits, SinkRecord};

/// A stream of Amazon Kinesis, or of a service that speaks its protocol.
///
/// Retries belong to the producer, so the client's own are switched off for the copy used here, and
/// each request has 10 seconds, whatever the client's timeouts are; but for its connect timeout,
/// which is kept. The credentials need `kinesis:PutRecords` and `kinesis:ListShards`
/// on the stream: without the second nothing is aggregated, and one throttled shard holds up the
/// whole stream.
#[derive(Clone, Debug)]
pub struct KinesisSink {
    client: Client,
    stream: String,
    record_bytes: usize,
}

impl KinesisSink {
    /// A stream by name or ARN. Region, credentials, TLS and endpoint are the client's.
    pub fn new(client: &Client, stream: impl Into<String>) -> Self {
        // There is one attempt. An end of the whole operation would hide from it how it went.
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(REQUEST_TIMEOUT)
            // What is not set here is the client's.
            .read_timeout(REQUEST_TIMEOUT)
            .disable_operation_timeout()
            .build();
        let config = client.config().to_builder();
        let config = config.retry_config(RetryConfig::disabled()).timeout_config(timeouts).build();
        let client = Client::from_conf(config);
        Self { client, stream: stream.into(), record_bytes: RECORD_BYTES }
    }

    /// How large a record may be: the stream's own setting, up to 10 MiB. Default 1 MiB.
    #[must_use]
    pub fn record_bytes(mut self, bytes: usize) -> Self {
        self.record_bytes = bytes;
        self
    }

    fn name(&self) -> Option<String> {
        (!self.is_arn()).then(|| self.stream.clone())
    }

    fn arn(&self) -> Option<String> {
        self.is_arn().then(|| self.stream.clone())
    }

    fn is_arn(&self) -> bool {
        self.stream.starts_with("arn:")
    }

    /// The service answers for a name that breaks its rules as for a record that does, and each
    /// would be put again alone to find out which.
    fn check(&self) -> Result<(), SinkError> {
        if is_stream(&self.stream) {
            return Ok(());
        }
        Err(SinkError::Never(format!(
            "{:?} names no stream: a name is {NAME}, and an ARN arn:aws:kinesis:REGION:ACCOUNT:\
             stream/NAME",
            self.stream
        )))
    }
}

/// What the service's model says of a stream's name.
const NAME: &str = "[a-zA-Z0-9_.-]{1,128}";

/// Whether this is the name of a stream, or an ARN of one in any of AWS's partitions.
fn is_stream(text: &str) -> bool {
    let is_name = |name: &str| {
        let is_in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        (1..=128).contains(&name.len()) && name.bytes().all(is_in_name)
    };
    let mut parts = text.splitn(6, ':');
    match std::array::from_fn(|_| parts.next()) {
        [Some("arn"), Some(partition), Some("kinesis"), Some(_), Some(account), Some(stream)] => {
            partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && stream.strip_prefix("stream/").is_some_and(is_name)
        }
        _ => is_name(text),
    }
}

#[async_trait]
impl PutSink for KinesisSink {
    fn limits(&self) -> SinkLimits {
        SinkLimits { record_bytes: self.record_bytes, ..SinkLimits::default() }
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, SinkError> {
        self.check()?;
        let mut shards = Vec::new();
        let mut token = None;
        for _ in 0..LISTING_PAGES {
            let request = self.client.list_shards();
            // A token stands for the stream; both in one request are refused.
            let request = match token {
                Some(token) => request.next_token(token),
                None => request.set_stream_name(self.name()).set_stream_arn(self.arn()),
            };
            let attempt = Attempt::default();
            let page = request.customize().interceptor(attempt.clone()).send().await;
            let page = page.map_err(|error| classify(&error, &attempt, &self.stream))?;
            for wire in page.shards() {
                shards.push(shard(wire)?);
            }
            token = page.next_token;
            if token.is_none() {
                return Ok(shards);
            }
        }
        Err(SinkError::Never(format!("the listing of stream {} has no end", self.stream)))
    }

    async fn put_records(&self, records: Vec<SinkRecord>) -> Result<Vec<Outcome>, SinkError> {
        self.check()?;
        let entries = records.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let count = entries.len();
        let request = self.client.put_records().set_records(Some(entries));
        let request = request.set_stream_name(self.name()).set_stream_arn(self.arn());
        let attempt = Attempt::default();
        let answer = request.customize().interceptor(attempt.clone()).send().await;
        let answer = answer.map_err(|error| classify(&error, &attempt, &self.stream))?;
        if answer.records.len() != count {
            let answered = answer.records.len();
            return Err(SinkError::Unknown(format!("{answered} outcomes for {count} records")));
        }
        answer.records.into_iter().map(outcome).collect()
    }
}

fn entry(record: SinkRecord) -> Result<PutRecordsRequestEntry, SinkError> {
    let entry = PutRecordsRequestEntry::builder()
        .partition_key(record.partition_key.as_str())
        .set_explicit_hash_key(record.explicit_hash_key.map(|hash_key| hash_key.to_string()))
        // Without a copy if nobody else holds the bytes, as with aggregates.
        .data(Blob::new(Vec::from(record.data)));
    entry.build().map_err(|error| SinkError::Never(error.to_string()))
}

/// A place that cannot be read is not a refusal: the record is in the stream.
fn outcome(wire: PutRecordsResultEntry) -> Result<Outcome, SinkError> {
    if let Some(code) = wire.error_code {
        let why = format!("{code}: {}", wire.error_message.unwrap_or_default());
        return Ok(Err(match code.as_str() {
            "ProvisionedThroughputExceededException" => Refusal::Throttled(why),
            // `InternalFailure`, as of a whole request: somebody failed between taking the record
            // and answering for it. Nothing says that it is not in the stream.
            _ => Refusal::Unknown(why),
        }));
    }
    let place = wire.shard_id.zip(wire.sequence_number);
    let (shard, sequence) = place.ok_or_else(|| bad("outcome", "neither place nor error"))?;
    let sequence = sequence.parse().map_err(|error| bad("sequence number", error))?;
    Ok(Ok(Placed { shard: ShardId::from(shard), sequence }))
}

fn bad(what: &str, value: impl Display) -> SinkError {
    SinkError::Unknown(format!("the service sent {value} for a {what}"))
}

fn shard(wire: &WireShard) -> Result<Shard, SinkError> {
    let key = |text: &str| text.parse::<u128>().map_err(|_| bad("hash key", text));
    let range = wire.hash_key_range.as_ref().ok_or_else(|| bad("hash key range", "nothing"))?;
    let (start, end) = (key(&range.starting_hash_key)?, key(&range.ending_hash_key)?);
    let range = HashKeyRange::new(start, end);
    let parents = [&wire.parent_shard_id, &wire.adjacent_parent_shard_id];
    let ended = wire.sequence_number_range.as_ref();
    Ok(Shard {
        id: ShardId::new(&wire.shard_id),
        parents: parents.into_iter().flatten().map(ShardId::new).collect(),
        range: range.ok_or_else(|| bad("hash key range", format!("{start} to {end}")))?,
        is_open: ended.is_none_or(|range| range.ending_sequence_number.is_none()),
        tip: None,
    })
}

/// Sorts an error by whether records may be in the stream, and whether to try again.
fn classify<E>(error: &SdkError<E, HttpResponse>, attempt: &Attempt, stream: &str) -> SinkError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let not_sent = || SinkError::NotNow(format!("not sent: {}", in_one_line(error)));
    match error {
        SdkError::ConstructionFailure(_) => SinkError::Never(in_one_line(error)),
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = answer.err().code().unwrap_or_default();
            by_code(code, status, stream, answer.err().message().unwrap_or_default())
        }
        // Credentials, for one, may come later.
        _ if !attempt.reached_http() => not_sent(),
        SdkError::DispatchFailure(failure)
            if failure
                .as_connector_error()
                .is_some_and(|error| failure.is_user() || never_connected(error)) =>
        {
            not_sent()
        }
        // A timeout, a lost connection, or an answer that cannot be read.
        _ => SinkError::Unknown(in_one_line(error)),
    }
}

/// Has all codes that the client would try again by itself, but those of EC2 and of transactions:
/// its retries are off.
fn by_code(code: &str, status: u16, stream: &str, message: &str) -> SinkError {
    let why = format!("{code} for stream {stream}: {message}");
    match code {
        "ProvisionedThroughputExceededException"
        | "LimitExceededException"
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
        | "SlowDown"
        | "ResourceInUseException"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "RequestExpired" => SinkError::NotNow(why),
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException" => SinkError::Never(format!(
            "the credentials may not write; allow kinesis:PutRecords and ListShards on the stream, \
             and check this machine's clock ({why})"
        )),
        "KMSAccessDeniedException" => SinkError::Never(format!(
            "the credentials may not use the key that encrypts the stream; allow \
             kms:GenerateDataKey on it ({why})"
        )),
        "ValidationException" | "InvalidArgumentException" => SinkError::Invalid(why),
        "ResourceNotFoundException" => SinkError::Never(format!(
            "the stream does not exist in this account and region; check its name, the region, and \
             whose the credentials are ({why})"
        )),
        _ if status == 429 => SinkError::NotNow(format!("{status} {why}")),
        // Somebody failed between taking the request and answering it.
        "RequestTimeout" | "RequestTimeoutException" => SinkError::Unknown(why),
        _ if status == 408 || status >= 500 => SinkError::Unknown(format!("{status} {why}")),
        _ => SinkError::Never(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_whether_records_may_be_in_the_stream() {
        let sort = |code, status| by_code(code, status, "s", "why");
        let not_now = |error| matches!(error, SinkError::NotNow(_));
        assert!(not_now(sort("ProvisionedThroughputExceededException", 400)));
        assert!(not_now(sort("ExpiredTokenException", 400)));
        assert!(not_now(sort("SlowDown", 400)) && not_now(sort("RequestThrottled", 400)));
        assert!(not_now(sort("", 429)), "a proxy on the way");
        assert!(matches!(sort("RequestTimeout", 400), SinkError::Unknown(_)));
        assert!(matches!(sort("", 408), SinkError::Unknown(_)));
        assert!(matches!(sort("InternalFailure", 500), SinkError::Unknown(_)));
        assert!(matches!(sort("", 503), SinkError::Unknown(_)));
        assert!(matches!(sort("ResourceNotFoundException", 400), SinkError::Never(_)));
        assert!(matches!(sort("ValidationException", 400), SinkError::Invalid(_)));
        assert!(matches!(sort("InvalidArgumentException", 400), SinkError::Invalid(_)));
        let denied = sort("AccessDeniedException", 400).to_string();
        assert!(denied.contains("kinesis:PutRecords") && denied.contains("why"), "{denied}");
        let no_key = sort("KMSAccessDeniedException", 400).to_string();
        assert!(no_key.contains("kms:GenerateDataKey") && !no_key.contains("clock"), "{no_key}");
    }

    #[test]
    fn an_outcome_is_a_place_or_a_refusal() {
        let throttled = PutRecordsResultEntry::builder()
            .error_code("ProvisionedThroughputExceededException")
            .error_message("Rate exceeded")
            .build();
        assert!(matches!(outcome(throttled), Ok(Err(Refusal::Throttled(_)))));
        let failed = PutRecordsResultEntry::builder().error_code("InternalFailure").build();
        assert!(matches!(outcome(failed), Ok(Err(Refusal::Unknown(_)))), "as a whole request's");
        let placed = PutRecordsResultEntry::builder().shard_id("shardId-000000000001");
        let placed =
            placed.sequence_number("49590338271490256608559692538361571095921575989136588898");
        assert!(matches!(outcome(placed.build()), Ok(Ok(_))));
        let neither = PutRecordsResultEntry::builder().build();
        assert!(matches!(outcome(neither), Err(SinkError::Unknown(_))));
    }
}
