//! Stands between the workers and the table, and does harm on command. Each worker has a door of
//! its own, so that one can be cut off.

mod checkpoints;
mod claims;
mod harm;
mod stats;
mod takeovers;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kcl_core::{Clock, SystemClock};
use tokio::net::TcpListener;

pub(crate) use checkpoints::Written;
use claims::Claims;
use harm::{Fate, fate};
pub(crate) use harm::{Harm, Rule};
use stats::Stats;
pub(crate) use stats::Traffic;
use takeovers::{Asked, Takeovers};
use wire::Update;

use crate::limits::PROXY_BODY;
use crate::worker::unix_seconds;

/// What the table answers when it throttles.
const THROTTLED: &str = concat!(
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","#,
    r#""message":"The drill throttles this request."}"#
);
const BROKEN: &str = concat!(
    r#"{"__type":"com.amazon.coral.service#InternalServerError","#,
    r#""message":"The drill breaks this request."}"#
);

/// The proxy of one drill. Clones are the same proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client<HttpConnector, Full<Bytes>>,
    upstream: String,
    /// Done all along.
    always: Vec<Rule>,
    /// Done at the moment, before what is done all along.
    harm: std::sync::Mutex<Harm>,
    stats: Stats,
    seen: std::sync::Mutex<Seen>,
    requests: AtomicU64,
    harmed: AtomicU64,
}

/// What the table has applied, as far as it can be read off the wire.
#[derive(Default)]
struct Seen {
    claims: Claims,
    checkpoints: Vec<Written>,
    takeovers: Takeovers,
}

/// One worker's way to the table.
#[derive(Clone)]
pub(crate) struct Door {
    address: SocketAddr,
    is_shut: Arc<AtomicBool>,
}

impl Door {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
    /// Shut, nothing comes through, and nobody is told.
    pub fn set_shut(&self, shut: bool) {
        self.is_shut.store(shut, Ordering::Relaxed);
    }
}

impl Proxy {
    /// In front of a table at this URL, with harm that is done all along.
    pub fn new(upstream: &str, always: Vec<Rule>) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let inner = Inner {
            client,
            upstream: upstream.trim_end_matches('/').to_owned(),
            harm: std::sync::Mutex::new(Harm { is_outage: false, rules: always.clone() }),
            always,
            stats: Stats::default(),
            seen: std::sync::Mutex::default(),
            requests: AtomicU64::new(0),
            harmed: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Does harm from now on, and what is done all along.
    pub fn set_harm(&self, mut harm: Harm) {
        harm.rules.extend(self.inner.always.iter().cloned());
        *locked(&self.inner.harm) = harm;
    }
    /// Takes by force or from dead owners so far, and those whose owner had not been fenced.
    pub fn takes(&self) -> (usize, Vec<String>) {
        let claims = &locked(&self.inner.seen).claims;
        (claims.taken, claims.unfounded.clone())
    }
    /// Requests so far that did not come through as they were: slowed down, lost, doubled, refused.
    pub fn harmed(&self) -> u64 {
        self.inner.harmed.load(Ordering::Relaxed)
    }
    /// Every checkpoint that the table has taken so far.
    pub fn checkpoints(&self) -> Vec<Written> {
        locked(&self.inner.seen).checkpoints.clone()
    }
    /// Of each take of a dead worker's lease so far: how many requests in a row it needed.
    pub fn takeovers(&self) -> Vec<usize> {
        locked(&self.inner.seen).takeovers.requests.clone()
    }
    /// Requests since the traffic was last taken, and the table's own p99.
    pub fn glance(&self) -> (u64, Duration) {
        self.inner.stats.glance()
    }
    /// What came through since this was last asked.
    pub fn take_traffic(&self) -> Traffic {
        self.inner.stats.take()
    }

    /// Opens one more door, for this worker.
    ///
    /// # Errors
    /// No port is left.
    pub async fn open(&self, worker: &str) -> io::Result<Door> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let door =
            Door { address: listener.local_addr()?, is_shut: Arc::new(AtomicBool::new(false)) };
        let pass =
            Pass { proxy: self.clone(), worker: worker.into(), is_shut: Arc::clone(&door.is_shut) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let pass = pass.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let pass = pass.clone();
                        async move { pass.pass(request).await }
                    });
                    // An error is a connection that one side has given up.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(door)
    }
}

fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
pub(crate) struct Closed;

type Answer = Result<Response<Full<Bytes>>, Closed>;

/// What the requests of one worker go through.
#[derive(Clone)]
struct Pass {
    proxy: Proxy,
    worker: Arc<str>,
    is_shut: Arc<AtomicBool>,
}

/// A request as it came, in full.
struct Whole {
    head: hyper::http::request::Parts,
    body: Bytes,
    operation: String,
}

impl Pass {
    async fn pass(&self, request: Request<Incoming>) -> Answer {
        let inner = &self.proxy.inner;
        let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok());
        let operation = target.and_then(|target| target.rsplit_once('.'));
        let operation = operation.map_or("Unknown", |(_, name)| name).to_owned();
        let harm = locked(&inner.harm).clone();
        let number = inner.requests.fetch_add(1, Ordering::Relaxed);
        inner.stats.count(&operation);
        let (head, body) = request.into_parts();
        let body = Limited::new(body, PROXY_BODY).collect().await.map_err(|_| Closed)?.to_bytes();
        let whole = Whole { head, body, operation };
        if self.is_shut.load(Ordering::Relaxed) {
            inner.harmed.fetch_add(1, Ordering::Relaxed);
            return black_hole(&self.is_shut).await;
        }
        let fate = fate(&harm, &whole.operation, number);
        inner.harmed.fetch_add(u64::from(fate != Fate::Pass), Ordering::Relaxed);
        match fate {
            Fate::Pass => self.forward(&whole).await,
            Fate::Delay(delay) => {
                SystemClock.sleep(delay).await;
                self.forward(&whole).await
            }
            Fate::Drop => Err(Closed),
            Fate::DropReply => {
                // Whatever it says, nobody hears it.
                let _ = self.forward(&whole).await;
                Err(Closed)
            }
            Fate::Duplicate => {
                let _ = self.forward(&whole).await;
                self.forward(&whole).await
            }
            Fate::Throttle => Ok(refusal(StatusCode::BAD_REQUEST, THROTTLED)),
            Fate::Break => Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, BROKEN)),
        }
    }

    async fn forward(&self, whole: &Whole) -> Answer {
        let inner = &self.proxy.inner;
        let Whole { head, body, operation } = whole;
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri: Uri = format!("{}{path}", inner.upstream).parse().map_err(|_| Closed)?;
        let host = uri.authority().map(|host| host.to_string()).unwrap_or_default();
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = head.method.clone();
        *request.headers_mut() = head.headers.clone();
        request.headers_mut().insert(HOST, HeaderValue::from_str(&host).map_err(|_| Closed)?);
        *request.uri_mut() = uri;
        let (sent, sent_at) = (SystemClock.monotonic(), unix_seconds());
        let answer = inner.client.request(request).await.map_err(|_| Closed)?;
        let (head, answer) = answer.into_parts();
        let answer = answer.collect().await.map_err(|_| Closed)?.to_bytes();
        inner.stats.answered(operation, SystemClock.monotonic().since(sent));
        let asked = Asked { sent: sent_at, answered: unix_seconds() };
        let is_done = head.status.is_success();
        locked(&inner.seen).answered(&self.worker, operation, body, asked, is_done);
        Ok(Response::from_parts(head, Full::new(answer)))
    }
}

impl Seen {
    fn answered(
        &mut self,
        worker: &str,
        operation: &str,
        body: &[u8],
        asked: Asked,
        is_done: bool,
    ) {
        let Ok(body) = serde_json::from_slice(body) else { return };
        self.takeovers.answered(worker, operation, &body, asked, is_done);
        for update in Update::all(operation, &body).iter().filter(|_| is_done) {
            self.claims.applied(worker, update);
            self.checkpoints.extend(checkpoints::written(worker, asked.answered, update));
        }
    }
}

/// Says nothing until the door opens again, and nothing then: the request is lost.
async fn black_hole(shut: &AtomicBool) -> Answer {
    while shut.load(Ordering::Relaxed) {
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    Err(Closed)
}

fn refusal(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}
