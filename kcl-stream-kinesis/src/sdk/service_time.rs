//! The service's own time, from the `Date` header of its answers. "Latest" is fixed by it, so that
//! a worker with a wrong clock skips nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_kinesis::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_sdk_kinesis::primitives::{DateTime, DateTimeFormat};

/// Notes the time of the answers it sees (Unix milliseconds).
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceTime(Arc<AtomicU64>);

impl ServiceTime {
    /// The last time seen, if any answer told one.
    pub fn millis(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|millis| *millis > 0)
    }
}

/// The milliseconds of an HTTP date.
fn parse(date: &str) -> Option<u64> {
    let date = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?;
    u64::try_from(date.to_millis().ok()?).ok()
}

impl Intercept for ServiceTime {
    fn name(&self) -> &'static str {
        "ServiceTime"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(millis) = context.response().headers().get("date").and_then(parse) {
            self.0.store(millis, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_is_read() {
        assert_eq!(parse("Mon, 23 Nov 2026 19:00:00 GMT"), Some(1_795_460_400_000));
        assert_eq!(parse("yesterday"), None);
    }
}
