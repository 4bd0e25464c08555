//! How an endpoint is set up, and why it may not start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::{Clock, SystemClock};
use kcl_stream_disk::DiskOptions;
use kcl_stream_local::{EngineError, StreamOptions, Throughput};

use crate::auth::AccessKeys;
use crate::bounds::Bounds;

/// How an endpoint is set up. The default listens on a free port of this machine, with the
/// service's limits, and changes streams at once.
#[derive(Clone)]
pub struct EndpointConfig {
    /// Where to listen. Port 0 takes a free one. An address that other machines reach needs `auth`
    /// and `tls`.
    pub bind: SocketAddr,
    /// Whether shards have the service's rates.
    pub throughput: Throughput,
    /// Bytes of memory for the records of one stream, each counted with its key and 16 bytes. A
    /// full stream refuses puts until records expire.
    pub memory_bytes: u64,
    /// How long creating and resharding a stream take.
    pub transition: Duration,
    /// Streams to make at the start, each with its number of shards.
    pub streams: Vec<(String, u32)>,
    /// Where streams are kept; in memory alone if there is none.
    pub data: Option<PathBuf>,
    /// Bytes after which a file of records in `data` is followed by another.
    pub segment_bytes: u64,
    /// Who may ask for what. Without it nobody is asked, and only this machine can be.
    pub auth: Option<AccessKeys>,
    /// The files for TLS; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// What clients may take of its time and memory.
    pub bounds: Bounds,
    /// The clock of streams, iterators, tokens and bounds.
    pub clock: Arc<dyn Clock>,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            throughput: Throughput::Provisioned,
            memory_bytes: StreamOptions::default().memory_bytes,
            transition: Duration::ZERO,
            streams: Vec::new(),
            data: None,
            segment_bytes: DiskOptions::default().segment_bytes,
            auth: None,
            tls: None,
            bounds: Bounds::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Why an endpoint does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another port, or 0 for a free one")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// Why it cannot.
        source: std::io::Error,
    },
    /// An address that other machines reach, without keys or without TLS.
    #[error(
        "{0} can be reached from other machines: that needs keys (--auth) and TLS (--tls-cert, \
         --tls-key); without them bind to 127.0.0.1 or ::1"
    )]
    NotLoopback(IpAddr),
    /// No memory for records.
    #[error("memory_bytes is 0: no stream could take a record; give some")]
    NoMemory,
    /// One of the bounds leaves clients nothing.
    #[error("bounds: {0} is 0: no client could be served; give some")]
    NoBound(&'static str),
    /// The files for TLS cannot be used.
    #[error("TLS: {}: {reason}", file.display())]
    Tls {
        /// Which file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The folder for the streams cannot be used.
    #[error("data: {0}")]
    Data(EngineError),
    /// A stream cannot be made.
    #[error("stream {name}: {reason}")]
    Stream {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM: the certificate and those between it and the root.
    pub certificates: PathBuf,
    /// PEM: the private key.
    pub key: PathBuf,
}
