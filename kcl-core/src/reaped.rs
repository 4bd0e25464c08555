//! Proof that a worker is dead, by whoever has seen its process end.

use std::sync::Arc;

use kcl_protocol::watch::fence_reaped;
use kcl_protocol::{ConditionalWrite, Row, Rules, WorkerId, WorkerState};

use crate::clock::{Clock, SystemClock};
use crate::hints::{Hint, Hints};
use crate::table::{LeaseTable, Scan, TableError};

/// Declares a worker dead whose process has ended, so that others take its shards at once instead
/// of after its lease duration: for a supervisor that has *reaped* it (`waitpid`, the exit event
/// of a container). Returns how many registrations it had left behind; none if it left cleanly.
///
/// The name must be of that process alone, and the replacement must not have been started yet:
/// what is declared dead drops everything it holds. A process that only seems to have ended may
/// still act; this is for proof, not for suspicion.
///
/// The others are told by hints where they listen for them; otherwise they find out at their next
/// look, a third of a lease duration later at most. Call it within a tokio runtime.
///
/// # Errors
/// As the table answers; call it again after a transient one. Then some registrations may already
/// be declared dead, which does no harm.
///
/// # Cancel safety
/// May be dropped and called again.
pub async fn reaped(table: &dyn LeaseTable, worker_name: &str) -> Result<usize, TableError> {
    let mut fenced = 0;
    let (mut hint_key, mut living) = (None, Vec::new());
    for row in table.scan(Scan::Coordination).await? {
        match row {
            Row::Table(row) => hint_key = Some(row.hint_key),
            Row::Worker(row) if row.state != WorkerState::Live => {}
            Row::Worker(row) if row.id.is_of(worker_name) => {
                let write = ConditionalWrite::Worker(fence_reaped(&row.id));
                fenced += usize::from(table.write(&write).await?.is_won());
            }
            Row::Worker(row) => living.push(row),
            Row::Stream(_) | Row::Lease(_) => {}
        }
    }
    if let Some(key) = hint_key.filter(|_| fenced > 0) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let bits = uuid::Uuid::new_v4().as_u128();
        let me = WorkerId::drawn("supervisor", bits, Rules::ALL);
        let hints = Hints::new(true, &me, key, &clock);
        for row in living {
            hints.send(&row.id, row.address.as_deref(), Hint::Fenced);
        }
    }
    Ok(fenced)
}
