//! What a request to the table costs a client like the workers: of their build, and on their
//! machine.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_core::protocol::RowKey;
use kcl_core::{Clock, LeaseTable, SystemClock};
use kcl_lease_dynamo::DynamoLeaseTable;
use tokio::task::JoinHandle;

use crate::limits::PROBE_EVERY;

/// Asks until dropped.
pub(crate) struct Probe {
    took: Arc<Mutex<Vec<Duration>>>,
    asking: JoinHandle<()>,
}

impl Probe {
    pub fn start(table: DynamoLeaseTable) -> Self {
        let took = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&took);
        let asking = tokio::spawn(async move {
            loop {
                SystemClock.sleep(PROBE_EVERY).await;
                let sent_at = SystemClock.monotonic();
                // A refusal has come all the way, too.
                let _ = table.read(&RowKey::Table).await;
                let took = SystemClock.monotonic().since(sent_at);
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(took);
            }
        });
        Self { took, asking }
    }

    /// What half of the requests since this was last asked did not exceed.
    pub fn take_median(&self) -> Option<Duration> {
        let mut took =
            std::mem::take(&mut *self.took.lock().unwrap_or_else(PoisonError::into_inner));
        took.sort();
        took.get(took.len().saturating_sub(1) / 2).copied()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.asking.abort();
    }
}
