//! One connection: its handshake, its requests, and what ends it when its client stands still.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kcl_core::Clock;
use kcl_core::protocol::Moment;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::arrivals::Arrivals;
use crate::bounds::Bounds;
use crate::limits::HEAD_BYTES;
use crate::request::respond;
use crate::state::State;

/// Serves a connection, after the handshake if it needs one.
pub(crate) async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) {
    // An answer waits for nothing.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve(stream, state).await };
    let shaken = tokio::select! { biased;
        shaken = tls.accept(stream) => shaken,
        () = state.clock.sleep(state.bounds.handshake) => return,
    };
    match shaken {
        Ok(stream) => serve(stream, state).await,
        Err(error) => tracing::debug!(%error, "a handshake failed"),
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Arc<State>) {
    let bounds = state.bounds;
    let mut server = auto::Builder::new(TokioExecutor::new());
    // The watch counts the time of heads.
    server.http1().header_read_timeout(None).max_buf_size(HEAD_BYTES);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES as u32)
        .max_concurrent_streams(bounds.requests)
        .keep_alive_interval(bounds.head);
    let watch = Watch::new(Arc::clone(&state.clock), bounds);
    let stream = Arrivals { stream, watch: Arc::clone(&watch) };
    let seen = Arc::clone(&watch);
    let service = service_fn(move |request: Request<Incoming>| {
        if request.version() <= Version::HTTP_11 {
            seen.is_http1.store(true, Ordering::Relaxed);
        }
        let (state, flight) = (Arc::clone(&state), Flight::new(&seen));
        async move { Ok::<_, Infallible>(respond(&state, request, flight).await) }
    });
    tokio::select! { biased;
        served = server.serve_connection(TokioIo::new(stream), service) => {
            // An error is a connection that the client has given up, or no HTTP at all.
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended");
            }
        }
        () = watch.stands_still() => tracing::debug!("a connection stood still, and was ended"),
    }
}

/// What a connection is doing. Neither version of HTTP bounds all that a client can leave undone:
/// say nothing, answer pings and ask nothing, or take nothing of its answers.
pub(crate) struct Watch {
    clock: Arc<dyn Clock>,
    bounds: Bounds,
    /// HTTP/2 sends more than requests: bytes do not begin a head there.
    is_http1: AtomicBool,
    /// The next bytes begin a head.
    awaits_head: AtomicBool,
    doing: Mutex<Doing>,
}

struct Doing {
    next: u64,
    /// Requests under way, each with the moment until which its client has to take more of the
    /// answer; none while the answer is being made.
    flights: Vec<(u64, Option<Moment>)>,
    /// When the connection ends if no request is under way until then: once a head has begun, the
    /// head's time.
    idle_until: Moment,
}

impl Watch {
    fn new(clock: Arc<dyn Clock>, bounds: Bounds) -> Arc<Self> {
        let idle_until = clock.monotonic() + bounds.head;
        let doing = Doing { next: 0, flights: Vec::new(), idle_until };
        let (is_http1, awaits_head) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { clock, bounds, is_http1, awaits_head, doing: Mutex::new(doing) })
    }

    /// Bytes came from the client.
    pub fn bytes_came(&self) {
        // One task has the connection: nothing comes between the two.
        if self.awaits_head.load(Ordering::Relaxed) {
            self.awaits_head.store(false, Ordering::Relaxed);
            let head_until = self.clock.monotonic() + self.bounds.head;
            self.doing().idle_until = head_until;
        }
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the connection should.
    async fn stands_still(&self) {
        let shortest = self.bounds.head.min(self.bounds.write).min(self.bounds.idle);
        // Late by a quarter at most, and no timer to move with every request.
        let every = (shortest / 4).max(Duration::from_millis(1));
        loop {
            self.clock.sleep(every).await;
            let now = self.clock.monotonic();
            let doing = self.doing();
            let is_idle = doing.flights.is_empty() && doing.idle_until <= now;
            let mut awaited = doing.flights.iter().filter_map(|(_, until)| *until);
            if is_idle || awaited.any(|until| until <= now) {
                return;
            }
        }
    }
}

/// One request under way, until the last of its answer was taken.
pub(crate) struct Flight {
    watch: Arc<Watch>,
    number: u64,
}

impl Flight {
    fn new(watch: &Arc<Watch>) -> Self {
        let mut doing = watch.doing();
        let number = doing.next;
        doing.next += 1;
        doing.flights.push((number, None));
        drop(doing);
        Self { watch: Arc::clone(watch), number }
    }

    /// The client has to take more of the answer within this time.
    pub fn expect_within(&self, time: Duration) {
        let until = self.watch.clock.monotonic() + time;
        let mut doing = self.watch.doing();
        if let Some(own) = doing.flights.iter_mut().find(|(number, _)| *number == self.number) {
            own.1 = Some(until);
        }
    }

    /// The client took some of the answer.
    pub fn moved(&self) {
        self.expect_within(self.watch.bounds.write);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let idle_until = self.watch.clock.monotonic() + self.watch.bounds.idle;
        let mut doing = self.watch.doing();
        doing.flights.retain(|(number, _)| *number != self.number);
        doing.idle_until = idle_until;
        let awaits_head = doing.flights.is_empty() && self.watch.is_http1.load(Ordering::Relaxed);
        self.watch.awaits_head.store(awaits_head, Ordering::Relaxed);
    }
}
