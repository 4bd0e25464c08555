//! What is told on the standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Crates that tell headers, signatures or bodies when asked for everything.
const TALKATIVE: [&str; 8] =
    ["aws_", "h2", "hyper", "rustls", "tokio_rustls", "tower", "tokio_util", "want"];

/// What is told if `RUST_LOG` does not say. The loader of the client's configuration warns of each
/// place it looked in; what it missed is in the command's own error.
const USUAL: &str = "warn,aws_config=error";

/// Begins to tell what `RUST_LOG` asks for; warnings if it does not say. Crates that would tell
/// secrets or payloads stay at their INFO, whatever it asks for.
pub fn begin() {
    let asked = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL));
    let capped = filter_fn(|about| {
        let is_talkative = TALKATIVE.iter().any(|crate_| about.target().starts_with(crate_));
        !is_talkative || *about.level() <= LevelFilter::INFO
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(capped)).with(asked).init();
}
