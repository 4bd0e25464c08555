//! `kcl serve`.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use kcl_endpoint::{AccessKeys, Endpoint, EndpointConfig, TlsFiles};
use kcl_stream_local::Throughput;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::output::{Output, Stopped};

/// Serve the bundled stream engine over the Kinesis protocol
///
/// It runs until SIGTERM or SIGINT. The first line of output is `listening on URL`.
#[derive(Debug, Parser)]
pub struct Args {
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 4566)]
    port: u16,

    /// Address; one that other machines reach needs --auth, --tls-cert and --tls-key
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,

    /// Streams to make, each with its shards: orders:4,clicks:2; a name alone has one shard
    #[arg(long, value_delimiter = ',', value_name = "NAME:SHARDS", value_parser = stream)]
    streams: Vec<(String, u32)>,

    /// Folder in which streams are kept; without it they are in memory alone
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// KiB after which a file of records is followed by another: few, so that tests have many files
    #[arg(long, default_value_t = 64 << 10, value_name = "N", hide = true)]
    segment_kib: u32,

    /// File of keys: only requests signed with one of them are answered
    #[arg(long, value_name = "FILE")]
    auth: Option<PathBuf>,

    /// PEM file of the certificate (and those between it and the root): serves HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// PEM file of the certificate's private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Without the service's rate limits
    #[arg(long)]
    unlimited: bool,

    /// Memory for the records of each stream (MiB); a full stream refuses puts until records expire
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = memory_mib())]
    memory_mib: u64,

    /// How long creating and resharding take (milliseconds)
    #[arg(long, default_value_t = 500, value_name = "N")]
    transition_ms: u64,
}

/// Up to 16 TiB: more than any machine has, and its bytes are a number.
fn memory_mib() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=16 << 20)
}

fn stream(text: &str) -> Result<(String, u32), String> {
    let (name, shards) = text.split_once(':').unwrap_or((text, "1"));
    match shards.parse() {
        Ok(0) => Err(format!("{name:?} needs at least 1 shard, as in {name}:1")),
        Ok(shards) => Ok((name.to_owned(), shards)),
        Err(_) => Err(format!("{text:?} is not NAME:SHARDS, as in orders:4")),
    }
}

fn keys(file: &Path) -> Result<AccessKeys, String> {
    let named = |error: String| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
    AccessKeys::from_toml(&text).map_err(|error| named(error.to_string()))
}

fn tls_files(args: &Args) -> Option<TlsFiles> {
    let (certificates, key) = args.tls_cert.clone().zip(args.tls_key.clone())?;
    Some(TlsFiles { certificates, key })
}

pub async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let config = EndpointConfig {
        bind: SocketAddr::new(args.bind, args.port),
        throughput: if args.unlimited { Throughput::Unlimited } else { Throughput::Provisioned },
        memory_bytes: args.memory_mib << 20,
        transition: Duration::from_millis(args.transition_ms),
        streams: args.streams.clone(),
        data: args.data.clone(),
        segment_bytes: u64::from(args.segment_kib) << 10,
        auth: args.auth.as_deref().map(keys).transpose()?,
        tls: tls_files(args),
        ..EndpointConfig::default()
    };
    // Before the line is printed: who reads it may stop us at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let is_open = config.auth.is_none();
    let endpoint = Endpoint::start(config).await?;
    if is_open {
        tracing::warn!(
            "nobody is asked for a key: every process of this machine may do all (--auth)"
        );
    }
    let url = endpoint.url();
    // Whoever started it may know the port, and read nothing.
    let told = Output::new(false).line(|| format!("listening on {url}"), || json!({}));
    told.or_else(Stopped::into_result)?;
    tokio::select! { biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_one_shard_unless_more_are_asked_for() {
        assert_eq!(stream("orders"), Ok(("orders".to_owned(), 1)));
        assert_eq!(stream("orders:4"), Ok(("orders".to_owned(), 4)));
        assert!(stream("orders:0").unwrap_err().contains("at least 1 shard"));
    }

    #[test]
    fn without_options_it_is_on_4566_of_this_machine_with_a_gigabyte_a_stream() {
        let args = Args::parse_from(["serve"]);
        assert_eq!(SocketAddr::new(args.bind, args.port).to_string(), "127.0.0.1:4566");
        assert_eq!((args.transition_ms, args.unlimited), (500, false));
        let embedded = EndpointConfig::default();
        assert_eq!(args.memory_mib << 20, embedded.memory_bytes);
        assert_eq!(embedded.memory_bytes, 1 << 30);
        assert_eq!(u64::from(args.segment_kib) << 10, embedded.segment_bytes);
    }
}
