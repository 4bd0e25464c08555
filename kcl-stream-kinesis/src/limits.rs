//! Numbers of the service and of this crate, each with its reason.

use std::time::Duration;

/// Records one GetRecords may return (Kinesis API reference).
pub const RECORDS_PER_READ: usize = 10_000;

/// The shortest time between two reads of a shard: five a second are allowed, to all readers of
/// the shard together (Kinesis quotas).
pub const READ_INTERVAL: Duration = Duration::from_millis(200);

/// Bytes a shard gives to all pollers in a second: 2 MiB (Kinesis quotas).
pub const BYTES_PER_SECOND: f64 = (2 << 20) as f64;

/// Bytes one read asks for where the service's rates hold: half a second's worth, so that another
/// application waits half a second at most.
pub const BYTES_PER_READ: usize = 1 << 20;

/// What a record of a shard is taken to be large before one has come: the most that streams take
/// unless they are set otherwise (Kinesis quotas: 1 MiB, up to 10 MiB).
pub const UNKNOWN_RECORD: usize = 1 << 20;

/// What a refused reader keeps of its share of a shard's limits. With 0.7, readers use about 85% of
/// the limit as they feel for it.
pub const SHARE_KEPT: f64 = 0.7;

/// The share a reader regains in a second. From a third, as one of three, to all of it takes 67 s;
/// each of three is refused about every tenth read meanwhile.
pub const SHARE_REGAINED: f64 = 0.01;

/// No share is smaller: a read every ten seconds.
pub const SMALLEST_SHARE: f64 = 0.02;

/// The wait at the tip of a shard. With 250 ms one application leaves a fifth of the shard's reads
/// to others, and a record waits an eighth of a second on average.
pub const IDLE: Duration = Duration::from_millis(250);

/// The shortest interval that can be set, for engines without the service's limits.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// The longest interval that can be set: an iterator lives five minutes, and a reader that waits
/// longer would lose its place each time.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// How long one request may take. A read of 10 MiB takes a second on a slow line; after ten the
/// connection is taken for dead: the next request goes by another.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after the service has refused another request for the rate: its buckets fill
/// by the second.
pub const THROTTLE_PAUSE: Duration = Duration::from_secs(1);

/// Pages of one listing: 1,000 shards each, more than any stream has. A service that gives ever
/// another token is refused instead of followed for ever.
pub const LISTING_PAGES: usize = 1_000;

/// How long until a consumer that is being registered is looked at again, at first; each wait is
/// twice the last. Engines in a process are as quick as the first.
pub const REGISTERING_WAIT: Duration = Duration::from_millis(250);

/// No wait for a consumer that is being registered is longer (20 looks a second are allowed to all
/// of a stream's together).
pub const REGISTERING_LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Looks before a start gives up waiting for a consumer to be ACTIVE, which takes some seconds.
pub const REGISTERING_LOOKS: usize = 60;

/// A subscription is replaced after this and up to [`RENEW_SPREAD`] more; the service ends it after
/// 300 s (Kinesis API reference). Spread, since all shards of a worker are subscribed at once.
pub const RENEW_AFTER: Duration = Duration::from_secs(240);

/// See [`RENEW_AFTER`].
pub const RENEW_SPREAD: Duration = Duration::from_secs(40);

/// How long a subscription is safe from the next of the same consumer and shard: another is refused
/// with ResourceInUse until then, and takes over after (Kinesis API reference).
pub const SUBSCRIPTION_SAFE: Duration = Duration::from_secs(5);

/// How long to wait at first, at most, after a subscription was refused since another is too young.
/// One call a second is allowed.
pub const REFUSED_PAUSE: Duration = Duration::from_millis(1_500);

/// How long to wait at first, at most, after another subscription took over. Above
/// [`SUBSCRIPTION_SAFE`] also at half.
pub const TAKEN_OVER_PAUSE: Duration = Duration::from_secs(11);

/// No wait for a shard that stays in use is longer, however often it was: once the rival is gone,
/// reading goes on within it.
pub const LONGEST_CONTEST_PAUSE: Duration = Duration::from_secs(30);

/// A shard that was not in use for so long is tried as often as at first. Two that take a shard
/// from each other meet within twice [`LONGEST_CONTEST_PAUSE`]: each waits while the other reads.
pub const CONTEST_FORGOTTEN: Duration = Duration::from_secs(90);

/// A shard that failed and was not tried again for so long has left this worker: the log says anew
/// that it fails. Tries are [`LONGEST_CONTEST_PAUSE`] apart at most, and a subscription that tells
/// nothing fails after 45 s at most.
pub const TROUBLE_FORGOTTEN: Duration = Duration::from_secs(90);

/// Without an event for so long, a subscription and its connection are dead: the service sends one
/// every five seconds.
pub const SILENCE: Duration = Duration::from_secs(30);

/// How long a reader may not be asked before its subscription is given up. Over HTTP/2 all
/// subscriptions of a worker share one window of bytes: one that is not read holds up the others.
pub const STALL: Duration = Duration::from_secs(10);
