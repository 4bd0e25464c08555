//! Numbers of the endpoint, each with its reason.

use std::time::Duration;

/// Bytes of one request: a put of 10 MiB in base64, and room for keys and names.
pub const BODY_BYTES: usize = 16 << 20;

/// How long a client may take to send the head of a request. The first one counts from the
/// beginning of the connection: a client that says nothing holds one for so long.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the room of expired records is given back: a small part of the shortest retention, a
/// day.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How long a body may take to come: 16 MiB at half a megabyte a second.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take none of an answer that waits for it: a slow line moves
/// [`PIECE_BYTES`] in a second.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may have no request under way: above the minute for which clients keep
/// connections in their pools.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of an answer that are handed on at once: what is not taken yet stays countable.
pub const PIECE_BYTES: usize = 64 << 10;
/// Bytes of the bodies of all requests under way: 16 of the largest.
pub const BODIES_BYTES: usize = 16 * BODY_BYTES;
/// Bytes of the answers to GetRecords that are under way: 19 of the largest, 10 MiB in base64.
pub const ANSWERS_BYTES: usize = 256 << 20;
/// How long the handshake of TLS may take: some round trips of a bad line.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the head of a request: a signed one of an official client has about 1,000, with a
/// session token 3,000.
pub const HEAD_BYTES: usize = 32 << 10;
/// Requests at once on one HTTP/2 connection, subscriptions included.
pub const REQUESTS_PER_CONNECTION: u32 = 256;
/// Levels of a request's values within each other; the deepest the API knows has 4.
pub const DEPTH: usize = 16;
/// Values of a request that is held against the model as a whole; the largest the API knows, the
/// tags of a new stream, has 200 and a few. A put's are counted as they are read.
pub const VALUES: usize = 10_000;
/// Records of one PutRecords (Kinesis API).
pub const RECORDS_PUT: usize = 500;
/// Rules broken by one request that are told; more are counted.
pub const TOLD: usize = 20;
/// Characters of a client's value that an error shows.
pub const SHOWN_CHARS: usize = 300;
/// Bytes from which a body's piece is held as it came. Smaller ones are put together: a client may
/// send a byte at a time, and each would cost many.
pub const SMALL_PIECE_BYTES: usize = 1 << 10;
/// How far the clock of who signs may be off (AWS: 5 minutes).
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Connections at once; more wait to be accepted.
pub const CONNECTIONS: usize = 4096;

/// How long a page of a listing stays good (Kinesis API: 300 seconds).
pub const TOKEN_LIFE_MILLIS: u64 = 300_000;

/// The largest page a request may ask for, whatever it is then given (Kinesis API).
pub const LARGEST_PAGE: i64 = 10_000;
/// Shards of a page, unless the request says less (Kinesis API).
pub const SHARDS_PER_PAGE: usize = 1000;
/// Streams of a page, unless the request says less (Kinesis API).
pub const STREAMS_PER_PAGE: usize = 100;
/// Shards of DescribeStream, unless the request says less (Kinesis API).
pub const DESCRIBED_SHARDS: usize = 100;

/// The account that owns every stream here.
pub const ACCOUNT: &str = "000000000000";
/// The region they are in.
pub const REGION: &str = "us-east-1";

/// Consumers of one stream (Kinesis API).
pub const CONSUMERS: usize = 20;
/// Consumers of an on-demand stream of an account with a commitment (Kinesis API: On-demand
/// Advantage).
pub const ADVANTAGE_CONSUMERS: usize = 50;
/// Consumers of one stream that are being created at once (Kinesis API).
pub const CONSUMERS_CREATING: usize = 5;
/// Consumers of a page, unless the request says less (Kinesis API).
pub const CONSUMERS_PER_PAGE: usize = 100;

/// How long a subscription is safe from the next of the same consumer and shard (Kinesis API).
pub const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(5);
/// How long a subscription lasts (Kinesis API).
pub const SUBSCRIPTION_LIFE: Duration = Duration::from_secs(300);
/// An idle subscription says so this often (as the service does).
pub const IDLE_EVENT_EVERY: Duration = Duration::from_secs(5);
/// Bytes of data and keys of one event; a larger record comes alone. Half a second of the rate.
pub const EVENT_BYTES: usize = 1 << 20;
/// Records of one event.
pub const EVENT_RECORDS: usize = 2000;
/// Events that wait for a slow client; after that the shard waits.
pub const EVENTS_AHEAD: usize = 2;

/// Milliseconds of the 24 hours of daily quotas.
pub const DAY_MILLIS: u64 = 86_400_000;
/// UpdateShardCount of one stream within 24 hours (Kinesis API).
pub const SHARD_COUNT_UPDATES: usize = 10;
/// Changes of a stream's mode within 24 hours (Kinesis guide).
pub const MODE_UPDATES: usize = 2;
/// StartStreamEncryption of one stream within 24 hours, and StopStreamEncryption too (Kinesis API).
pub const ENCRYPTION_CHANGES: usize = 25;
/// The retention a stream has at least and at most, in hours (Kinesis API).
pub const SHORTEST_RETENTION_HOURS: i64 = 24;
/// See [`SHORTEST_RETENTION_HOURS`].
pub const LONGEST_RETENTION_HOURS: i64 = 8760;
/// Tags of a stream or consumer (Kinesis API).
pub const TAGS: usize = 50;
/// Bytes of a resource policy (IAM's limit for one).
pub const POLICY_BYTES: usize = 20 << 10;
/// Streams that are being created at once (Kinesis API).
pub const STREAMS_CREATING: usize = 5;
/// Streams whose shards are being split or merged at once (Kinesis API).
pub const STREAMS_RESHARDING: usize = 5;
/// Open shards of all provisioned streams together: the service's default in its large regions.
pub const SHARDS: usize = 20_000;
/// Shards an on-demand stream begins with (Kinesis guide: 4 MB/s in).
pub const ON_DEMAND_SHARDS: i64 = 4;
/// On-demand streams of the account (Kinesis guide).
pub const ON_DEMAND_STREAMS: usize = 50;
/// Warm throughput of a stream in MiB/s: 10 GiB/s (Kinesis API).
pub const WARM_MIBPS: i64 = 10_240;
/// Bytes of a record's data (Kinesis API: 10 MiB, and less as the stream says).
pub const LARGEST_DATA: usize = 10 << 20;

/// Records of one GetRecords (Kinesis API).
pub const MOST_READ: i64 = 10_000;
/// GetShardIterator of one shard in a second (Kinesis API).
pub const ITERATORS_A_SECOND: usize = 5;
/// ListShards of one stream in a second (Kinesis API).
pub const SHARD_LISTINGS_A_SECOND: usize = 1000;
/// DescribeStreamConsumer of one stream in a second (Kinesis API).
pub const CONSUMERS_DESCRIBED_A_SECOND: usize = 20;
/// ListStreamConsumers of one stream in a second (Kinesis API).
pub const CONSUMER_LISTINGS_A_SECOND: usize = 5;
