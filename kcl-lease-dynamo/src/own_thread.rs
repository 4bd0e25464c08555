//! A thread with a runtime of its own, started by the first request and ended with its owner.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use kcl_core::TableError;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::errors::Intent;

/// The thread, once it runs.
#[derive(Debug, Default)]
pub(crate) struct OwnThread(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    runtime: Handle,
    /// Dropped with the owner; the thread waits for that.
    _stop: oneshot::Sender<()>,
}

/// A request that is given up when nobody waits for it any more.
struct Request<T>(JoinHandle<T>);

impl<T> Drop for Request<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl OwnThread {
    /// Runs a request there and waits for it. Dropping this gives the request up.
    pub async fn run<T: Send + 'static>(
        &self,
        intent: Intent,
        request: impl Future<Output = Result<T, TableError>> + Send + 'static,
    ) -> Result<T, TableError> {
        let mut request = Request(self.runtime()?.spawn(request));
        let ended = (&mut request.0).await;
        ended.unwrap_or_else(|error| Err(intent.no_answer(format!("the request ended: {error}"))))
    }

    fn runtime(&self) -> Result<Handle, TableError> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running {
            return Ok(running.runtime.clone());
        }
        let failed = |error| TableError::Unavailable(format!("no thread for requests: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name("kcl-dynamodb".to_owned());
        // Nothing is ever sent: the channel closing is the signal.
        thread.spawn(move || runtime.block_on(stopped).ok()).map_err(failed)?;
        *running = Some(Running { runtime: handle.clone(), _stop: stop });
        Ok(handle)
    }
}
