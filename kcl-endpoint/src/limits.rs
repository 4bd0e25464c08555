//! Numbers of the endpoint, each with its reason.

use std::time::Duration;

/// Bytes of one request: a put of 10 MiB in base64, and room for keys and names.
pub const BODY_BYTES: usize = 16 << 20;

/// How long a client may take to send the head of a request: an idle client holds one connection.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections at once; more wait to be accepted.
pub const CONNECTIONS: usize = 4096;

/// How long a page of a listing stays good (Kinesis API: 300 seconds).
pub const TOKEN_LIFE_MILLIS: u64 = 300_000;

/// Shards of a page if the request does not say, and the most it may ask for (Kinesis API).
pub const SHARDS_PER_PAGE: usize = 1000;
/// The most shards a page may have.
pub const MOST_SHARDS_PER_PAGE: usize = 10_000;

/// Streams of a page if the request does not say (Kinesis API).
pub const STREAMS_PER_PAGE: usize = 100;

/// Shards of DescribeStream if the request does not say (Kinesis API).
pub const DESCRIBED_SHARDS: usize = 100;

/// The account that owns every stream here.
pub const ACCOUNT: &str = "000000000000";
/// The region they are in.
pub const REGION: &str = "us-east-1";
