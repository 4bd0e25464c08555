//! What is known of a request besides its answer: whether it was sent, and over what.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_kinesis::config::interceptors::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::{BoxError, ConnectorError};
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use hyper_util::client::legacy;
use kcl_core::causes;

/// Follows one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempt(Arc<AtomicBool>);

impl Attempt {
    /// False if it certainly was not sent: it failed for want of credentials, an endpoint, a
    /// signature or an HTTP client.
    pub(super) fn reached_http(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for Attempt {
    fn name(&self) -> &'static str {
        "kcl_producer::Attempt"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Without a client it ends right after this.
        self.0.store(components.http_client().is_some(), Ordering::Relaxed);
        Ok(())
    }

    /// The SDK gives up a connection only after an answer. All requests share one over HTTP/2, and
    /// a dead one would make each of them time out until the system notices, 15 minutes later.
    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Err(error)) = context.output_or_error() else { return Ok(()) };
        let connector = error.as_connector_error();
        if error.is_timeout_error() || connector.is_some_and(ConnectorError::is_timeout) {
            let connection = bag.load::<CaptureSmithyConnection>();
            if let Some(connection) = connection.and_then(CaptureSmithyConnection::get) {
                connection.poison();
            }
        }
        Ok(())
    }
}

/// True if the causes show that no connection came about, so nothing was sent.
pub(super) fn never_connected(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        // It knows: a name that does not resolve, a handshake that fails, time that ran out. What
        // the system says of an unreachable host may be about a connection in use.
        if let Some(client) = cause.downcast_ref::<legacy::Error>() {
            return client.is_connect();
        }
        next = cause.source();
    }
    causes::never_connected(error)
}
