//! The server: connections, and what every request has to pass.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kcl_core::{Clock, SystemClock};
use kcl_stream_disk::{DiskOptions, DiskStore};
use kcl_stream_local::{Engine, EngineError, StreamOptions, Throughput};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::auth::{Signed, resources};
use crate::body::{EVENTS, Reply};
use crate::config::{EndpointConfig, StartError};
use crate::dispatch::answer;
use crate::error::ApiError;
use crate::limits::{
    BODY_BYTES, BODY_TIMEOUT, CONNECTIONS, HANDSHAKE_TIMEOUT, HEAD_BYTES, HEADER_TIMEOUT,
    REQUESTS_PER_CONNECTION, SWEEP_EVERY,
};
use crate::state::State;
use crate::tls;
use crate::token::Seal;
use crate::wire::Format;

/// A running endpoint; it stops when dropped.
pub struct Endpoint {
    address: SocketAddr,
    is_tls: bool,
    stop: CancellationToken,
}

impl Endpoint {
    /// Starts listening. Needs a tokio runtime, and lives on it.
    ///
    /// # Errors
    /// [`StartError`] names the address or the stream.
    pub async fn start(config: EndpointConfig) -> Result<Self, StartError> {
        let is_guarded = config.auth.is_some() && config.tls.is_some();
        if !config.bind.ip().is_loopback() && !is_guarded {
            return Err(StartError::NotLoopback(config.bind.ip()));
        }
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let options = StreamOptions { throughput: config.throughput, ..StreamOptions::default() };
        let millis = u64::try_from(config.transition.as_millis()).unwrap_or(u64::MAX);
        let opened = open(&config.clock, config.data.as_deref(), options.throughput);
        let (engine, seal, store) = opened.map_err(StartError::Data)?;
        let mut state = State::new(config.clock, (engine, seal), options, millis);
        if let Some(store) = store {
            state.keep_in(store).map_err(|error| StartError::Data(error.into()))?;
        }
        state.keys = config.auth;
        let state = Arc::new(state);
        for (name, shards) in &config.streams {
            if config.data.is_some() && state.engine.stream(name).is_ok() {
                continue;
            }
            let made = state.engine.create_stream(name.as_str(), *shards, options);
            made.map_err(|error| StartError::Stream {
                name: name.clone(),
                reason: error.to_string(),
            })?;
        }
        let listen = |source| StartError::Listen { address: config.bind, source };
        let listener = TcpListener::bind(config.bind).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let stop = CancellationToken::new();
        tokio::spawn(sweep(state.engine.clone(), stop.clone()));
        let is_tls = tls.is_some();
        tokio::spawn(accept(listener, tls, state, stop.clone()));
        Ok(Self { address, is_tls, stop })
    }

    /// Where it listens, as a client's endpoint URL.
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
    /// Stops listening and ends every connection.
    pub fn shutdown(&self) {
        self.stop.cancel();
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// The engine, the key of tokens, and where both are kept.
fn open(
    clock: &Arc<dyn Clock>,
    folder: Option<&Path>,
    throughput: Throughput,
) -> Result<(Engine, Seal, Option<Arc<DiskStore>>), EngineError> {
    let clock = Arc::clone(clock);
    let Some(folder) = folder else { return Ok((Engine::new(clock), Seal::new(), None)) };
    let store = Arc::new(DiskStore::open(folder, DiskOptions::default())?);
    let seal = Seal::kept(&store)?;
    let engine = Engine::open(clock, store.clone())?;
    for name in engine.list_streams() {
        let stream = engine.stream(name.as_str())?;
        // How this endpoint was started counts, not how the one before was.
        if stream.describe()?.options.throughput != throughput {
            stream.set_throughput(throughput)?;
        }
    }
    Ok((engine, seal, Some(store)))
}

/// Gives the room of expired records back, also where nobody puts or reads.
async fn sweep(engine: Engine, stop: CancellationToken) {
    loop {
        tokio::select! { biased;
            () = stop.cancelled() => return,
            () = SystemClock.sleep(SWEEP_EVERY) => engine.sweep(),
        }
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! { biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, as a rule: that passes.
            SystemClock.sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (state, tls, stop) = (Arc::clone(&state), tls.clone(), stop.clone());
        tokio::spawn(async move {
            let _slot = slot;
            tokio::select! { biased;
                () = stop.cancelled() => {}
                () = greet(stream, tls, state) => {}
            }
        });
    }
}

/// Serves a connection, after the handshake if it needs one.
async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) {
    // An answer waits for nothing.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve(stream, state).await };
    let shaken = tokio::select! { biased;
        shaken = tls.accept(stream) => shaken,
        () = SystemClock.sleep(HANDSHAKE_TIMEOUT) => return,
    };
    match shaken {
        Ok(stream) => serve(stream, state).await,
        Err(error) => tracing::debug!(%error, "a handshake failed"),
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Arc<State>) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES as u32)
        .max_concurrent_streams(REQUESTS_PER_CONNECTION)
        .keep_alive_interval(HEADER_TIMEOUT);
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(respond(&state, request).await) }
    });
    // An error is a connection that the client has given up, or no HTTP at all.
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn respond(state: &Arc<State>, request: Request<Incoming>) -> Response<Reply> {
    let format = format_of(request.headers());
    let answered = take(state, request, format).await;
    let format = format.unwrap_or(Format::Json);
    let (status, body, error) = match answered {
        Ok(body) => (StatusCode::OK, body, None),
        Err(error) => {
            let told = Told { kind: error.name, message: &error.message };
            let body = Reply::Whole(format.write(&told).unwrap_or_default());
            (error.status, body, Some(error.name))
        }
    };
    let content_type = match body {
        Reply::Whole(_) => format.content_type(),
        Reply::Events(_) => EVENTS,
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let date = UNIX_EPOCH + Duration::from_millis(state.clock.wall_millis());
    let id = uuid::Uuid::new_v4().to_string();
    for (name, value) in [
        (DATE.as_str(), httpdate::fmt_http_date(date)),
        ("x-amzn-requestid", id.clone()),
        ("x-amz-id-2", id),
        ("x-amzn-errortype", error.unwrap_or_default().to_owned()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value)
            && !value.is_empty()
        {
            headers.insert(hyper::header::HeaderName::from_static(name_of(name)), value);
        }
    }
    response
}

/// Names of the headers above.
fn name_of(name: &str) -> &'static str {
    match name {
        "date" => "date",
        "x-amzn-requestid" => "x-amzn-requestid",
        "x-amz-id-2" => "x-amz-id-2",
        _ => "x-amzn-errortype",
    }
}

/// An error on the wire.
#[derive(serde::Serialize)]
struct Told<'a> {
    #[serde(rename = "__type")]
    kind: &'a str,
    message: &'a str,
}

fn format_of(headers: &HeaderMap) -> Option<Format> {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).and_then(Format::of)
}

async fn take(
    state: &Arc<State>,
    request: Request<Incoming>,
    format: Option<Format>,
) -> Result<Reply, ApiError> {
    let headers = request.headers();
    // Pages of a browser, of whatever site, must not reach an endpoint on the same machine.
    if headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Err(ApiError::access_denied("Requests of web pages are refused."));
    }
    if request.method() != Method::POST || request.uri().path() != "/" {
        let asked = format!("{} {}", request.method(), request.uri().path());
        return Err(ApiError::unknown_operation(&asked));
    }
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let target = target.unwrap_or_default().to_owned();
    let format = format.ok_or_else(|| ApiError::unknown_operation(&target))?;
    // Before the body is waited for: strangers get no memory.
    let sign = |_: &_| Signed::read(request.method().as_str(), request.uri(), headers);
    let signed = state.keys.as_ref().map(sign).transpose()?;
    let announced = hyper::body::Body::size_hint(request.body()).lower();
    if announced > BODY_BYTES as u64 {
        return Err(ApiError::too_large(BODY_BYTES));
    }
    let body = tokio::select! { biased;
        body = Limited::new(request.into_body(), BODY_BYTES).collect() => body,
        () = SystemClock.sleep(BODY_TIMEOUT) => return Err(ApiError::too_slow()),
    };
    let body = body.map_err(|_| ApiError::too_large(BODY_BYTES))?.to_bytes();
    if let (Some(keys), Some(signed)) = (&state.keys, &signed) {
        let key = keys.verify(signed, &body, state.clock.wall_millis())?;
        let operation = target.rsplit('.').next().unwrap_or_default();
        key.authorize(operation, &resources(state.seal, format, &body))?;
    }
    format.check_depth(&body)?;
    // What waits for a disk must not hold up the connections.
    if state.engine.is_kept() && !is_read(&target) {
        let state = Arc::clone(state);
        let answered =
            tokio::task::spawn_blocking(move || answer(&state, &target, format, &body)).await;
        return answered.unwrap_or_else(|_| Err(ApiError::internal("The request broke off.")));
    }
    answer(state, &target, format, &body)
}

/// True for operations that change nothing.
fn is_read(target: &str) -> bool {
    let operation = target.rsplit('.').next().unwrap_or_default();
    ["Get", "List", "Describe", "Subscribe"].iter().any(|verb| operation.starts_with(verb))
}
