//! Memory of a producer that gets rid of less than is put, while sixteen tasks put all they can. It
//! fails if that is not bounded by what the producer may hold.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use kcl_producer::{Aggregation, KinesisSink, Producer, ProducerOptions};

use crate::kcl_serve::Served;
use crate::{Result, memory, serve};

/// Bytes of the records.
pub const SIZES: [usize; 2] = [4_000, 100];
/// What a producer holds by default (MiB).
const BUDGET: usize = 16;
/// On top of it (MiB): eight requests of 1 MiB, of which each is there twice more while it is under
/// way, as what the client was given and as JSON in base64; and what the allocator keeps.
const MARGIN: usize = 32;
/// Three times the ten seconds after which a request is given up.
const LOOK_FOR: Duration = Duration::from_secs(30);
const CALLERS: usize = 16;

/// Why records stay with the producer.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// One shard, which takes 1 MiB a second.
    Throttled,
    /// Connections are taken, and requests neither read nor answered.
    Silent,
}

impl Stream {
    pub const BOTH: [Self; 2] = [Self::Throttled, Self::Silent];
}

/// What a producer in a process of its own is asked for.
pub const PRODUCER: &str = "backlog-producer";

/// What serves the stream until it is dropped.
enum Server {
    Throttled(Served),
    /// The system accepts connections for it.
    Silent(TcpListener),
}

impl Server {
    fn start(stream: Stream) -> Result<Self> {
        Ok(match stream {
            Stream::Throttled => Self::Throttled(serve::start("backlog", 1, false)?),
            Stream::Silent => Self::Silent(TcpListener::bind(("127.0.0.1", 0))?),
        })
    }
    fn url(&self) -> Result<String> {
        Ok(match self {
            Self::Throttled(served) => served.url.clone(),
            Self::Silent(listener) => format!("http://{}", listener.local_addr()?),
        })
    }
}

/// The budget and the most that memory grew by (MiB).
///
/// # Errors
/// It grew by more than the budget and [`MARGIN`].
pub fn measure(stream: Stream, bytes: usize, is_aggregated: bool) -> Result<(usize, f64)> {
    let server = Server::start(stream)?;
    let (bytes_word, aggregated_word) = (bytes.to_string(), is_aggregated.to_string());
    let most = memory::grown_by(&[PRODUCER, &server.url()?, &bytes_word, &aggregated_word])?;
    if most > (BUDGET + MARGIN) as f64 {
        let why = format!(
            "memory grew by {most:.0} MiB with a budget of {BUDGET} MiB, records of {bytes} bytes, \
             {stream:?}"
        );
        return Err(why.into());
    }
    Ok((BUDGET, most))
}

/// The most that the memory of this process grew by (MiB).
pub async fn producer(url: &str, bytes: usize, is_aggregated: bool) -> Result<f64> {
    let sink = KinesisSink::new(&serve::client(url), "backlog");
    let aggregation = if is_aggregated { Aggregation::KPL } else { Aggregation::Off };
    let options = ProducerOptions { aggregation, ..ProducerOptions::default() };
    let growing = memory::growth(LOOK_FOR);
    let producer = Producer::builder(Arc::new(sink)).options(options).start();
    for caller in 0..CALLERS {
        let producer = producer.clone();
        tokio::spawn(async move {
            for number in 0_u64.. {
                let put = producer.put(format!("{caller}-{}", number % 1_000), vec![b'x'; bytes]);
                if put.await.is_err() {
                    return;
                }
            }
        });
    }
    let most = growing.await?;
    match producer.metrics().waiting_records {
        0 => Err("nothing waited at the end".into()),
        _ => Ok(most),
    }
}
