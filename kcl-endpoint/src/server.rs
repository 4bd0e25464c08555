//! The server: how it starts, and who is let in.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::Clock;
use kcl_stream_disk::{DiskOptions, DiskStore};
use kcl_stream_local::{Engine, EngineError, StreamOptions};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::collect::Budget;
use crate::config::{EndpointConfig, StartError};
use crate::connection::greet;
use crate::limits::SWEEP_EVERY;
use crate::state::State;
use crate::tls;
use crate::token::Seal;

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
    /// [`StartError`] names the address, the setting or the stream.
    pub async fn start(config: EndpointConfig) -> Result<Self, StartError> {
        let is_guarded = config.auth.is_some() && config.tls.is_some();
        if !config.bind.ip().is_loopback() && !is_guarded {
            return Err(StartError::NotLoopback(config.bind.ip()));
        }
        if config.memory_bytes == 0 {
            return Err(StartError::NoMemory);
        }
        if let Some(name) = config.bounds.first_zero() {
            return Err(StartError::NoBound(name));
        }
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let options = StreamOptions {
            throughput: config.throughput,
            memory_bytes: config.memory_bytes,
            ..StreamOptions::default()
        };
        let millis = u64::try_from(config.transition.as_millis()).unwrap_or(u64::MAX);
        let disk = DiskOptions { segment_bytes: config.segment_bytes, ..DiskOptions::default() };
        let folder = config.data.as_deref().map(|folder| (folder, disk));
        let opened = open(&config.clock, folder, &options);
        let (engine, seal, store) = opened.map_err(StartError::Data)?;
        let mut state = State::new(config.clock, (engine, seal), options, millis);
        if let Some(store) = store {
            state.keep_in(store).map_err(|error| StartError::Data(error.into()))?;
        }
        state.keys = config.auth;
        state.bounds = config.bounds;
        state.budget = Budget::new(config.bounds.bodies_bytes);
        state.answers = Budget::new(config.bounds.answers_bytes);
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
        let stop = state.stop.clone();
        tokio::spawn(sweep(Arc::clone(&state), stop.clone()));
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
    folder: Option<(&Path, DiskOptions)>,
    options: &StreamOptions,
) -> Result<(Engine, Seal, Option<Arc<DiskStore>>), EngineError> {
    let clock = Arc::clone(clock);
    let Some((folder, disk)) = folder else { return Ok((Engine::new(clock), Seal::new(), None)) };
    let store = Arc::new(DiskStore::open(folder, disk)?);
    let seal = Seal::kept(&store)?;
    let engine = Engine::open(clock, store.clone())?;
    for name in engine.list_streams() {
        let stream = engine.stream(name.as_str())?;
        // How this endpoint was started counts, not how the one before was.
        let before = stream.describe()?.options;
        if before.throughput != options.throughput {
            stream.set_throughput(options.throughput)?;
        }
        if before.memory_bytes != options.memory_bytes {
            stream.set_memory_bytes(options.memory_bytes)?;
        }
    }
    Ok((engine, seal, Some(store)))
}

/// Gives the room of expired records back, also where nobody puts or reads.
async fn sweep(state: Arc<State>, stop: CancellationToken) {
    loop {
        tokio::select! { biased;
            () = stop.cancelled() => return,
            () = state.clock.sleep(SWEEP_EVERY) => state.engine.sweep(),
        }
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(state.bounds.connections.min(Semaphore::MAX_PERMITS)));
    loop {
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! { biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, as a rule: that passes.
            state.clock.sleep(Duration::from_millis(100)).await;
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
