//! P6: nothing parks a shard once faults are over, and none is parked in the end.

use std::collections::BTreeMap;

use kcl_core::event::EventKind;
use kcl_core::protocol::{Lease, LeaseKey, Moment};

use super::{Entry, Violation, What};

/// Judges what happened since nothing can fail any more, and the rows in the end. Whoever resumes
/// parked shards all the time hides a consumer that parks without a reason; the history does not.
pub fn nothing_parks(
    since: Moment,
    end: Moment,
    history: &[Entry],
    leases: &BTreeMap<LeaseKey, Lease>,
) -> Vec<Violation> {
    let broken = |at, what| Violation { property: "P6", at, what };
    let late = history.iter().filter(|entry| entry.at >= since);
    let parks = late.filter_map(|entry| match &entry.what {
        What::Event(event) => match &event.kind {
            EventKind::Parked { lease, reason, .. } => {
                Some(broken(entry.at, format!("{lease} was parked with no fault left: {reason}")))
            }
            _ => None,
        },
        _ => None,
    });
    let left = leases.values().filter_map(|lease| {
        let parked = lease.parked.as_ref()?;
        Some(broken(end, format!("{} is still parked: {}", lease.key, parked.reason)))
    });
    parks.chain(left).collect()
}
