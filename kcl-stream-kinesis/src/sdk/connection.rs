//! Connections that died without a word. Over HTTP/2 all requests of a client share one, and what
//! times out ends its own stream alone: the connection would stay in the pool, and each retry would
//! go by it until TCP gives up, after some 15 minutes.

use std::sync::{Arc, OnceLock};

use aws_sdk_kinesis::config::interceptors::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;

/// Takes a connection out of the pool once a request by it had no answer in time. (The client does
/// so by itself after some answers, and never without one.) What else goes by it may go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaveSilent;

impl Intercept for LeaveSilent {
    fn name(&self) -> &'static str {
        "LeaveSilent"
    }

    // The one before it, `read_after_deserialization`, is only called for answers.
    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Err(error)) = context.output_or_error() else { return Ok(()) };
        let by_connector = error.as_connector_error().is_some_and(|error| error.is_timeout());
        if error.is_timeout_error() || by_connector {
            leave(config.load::<CaptureSmithyConnection>());
        }
        Ok(())
    }
}

/// The connection of one request, for an answer that falls silent later.
#[derive(Clone, Debug, Default)]
pub(super) struct Carrier(Arc<OnceLock<CaptureSmithyConnection>>);

impl Carrier {
    /// Takes it out of the pool.
    pub fn leave(&self) {
        leave(self.0.get());
    }
}

impl Intercept for Carrier {
    fn name(&self) -> &'static str {
        "Carrier"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(captured) = config.load::<CaptureSmithyConnection>() {
            self.0.get_or_init(|| captured.clone());
        }
        Ok(())
    }
}

fn leave(captured: Option<&CaptureSmithyConnection>) {
    // There is none where connecting itself took too long.
    if let Some(connection) = captured.and_then(CaptureSmithyConnection::get) {
        connection.poison();
    }
}
