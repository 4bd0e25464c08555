//! A call of user code that is polled only while the permit holds, and whose panic is a value.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use crate::permit::{Denied, Permit};

/// Why a call did not return by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The permit had gone.
    Denied(Denied),
    /// It panicked, with this message.
    Panicked(String),
}

/// Wraps a call. Without a permit the call may run on: it has nothing to write.
pub(super) struct Guarded<'p, F> {
    permit: Option<&'p Permit>,
    /// Made only once the call waits for something: most calls never need it.
    denied: Option<BoxFuture<'static, Denied>>,
    call: F,
}

impl<'p, F: Future + Unpin> Guarded<'p, F> {
    pub fn new(permit: Option<&'p Permit>, call: F) -> Self {
        Self { permit, denied: None, call }
    }

    fn poll_denied(&mut self, cx: &mut Context<'_>) -> Poll<Denied> {
        let Some(permit) = self.permit else { return Poll::Pending };
        let denied = self.denied.get_or_insert_with(|| {
            let permit = permit.clone();
            Box::pin(async move { permit.denied().await })
        });
        denied.as_mut().poll(cx)
    }
}

impl<F: Future + Unpin> Future for Guarded<'_, F> {
    type Output = Result<F::Output, Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(Err(denied)) = self.permit.map(Permit::check) {
            return Poll::Ready(Err(Broken::Denied(denied)));
        }
        let call = &mut self.call;
        match catch_unwind(AssertUnwindSafe(|| Pin::new(call).poll(cx))) {
            Err(panic) => Poll::Ready(Err(Broken::Panicked(panic_text(&*panic)))),
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => self.poll_denied(cx).map(|denied| Err(Broken::Denied(denied))),
        }
    }
}

/// Runs a plain function of the user's.
pub(super) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panic_text(&*panic))
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}
