//! When this worker lists the shards of its streams, and when again where that failed.

use std::sync::Arc;
use std::time::Duration;

use super::ops::{Done, operation};
use super::{Again, Control, Timer};
use crate::limits::LONGEST_SYNC_WAIT;
use crate::retry::Backoff;
use crate::streams::{Synced, Which};

#[derive(Debug, Default)]
pub(super) struct Syncing {
    /// One is under way, and whether all streams were asked for meanwhile.
    under_way: Option<Again>,
    /// Streams that failed have a timer: never two, or failures would add up to a storm.
    is_timed: bool,
    /// Syncs in a row that left a stream out.
    failures: u32,
}

impl Control<'_> {
    /// Lists the shards and makes the leases they need, apart from the loop; one at a time, and one
    /// more after it if it was asked for meanwhile.
    pub(super) fn sync_streams(&mut self) {
        match &mut self.syncing.under_way {
            Some(again) => *again = Again::Yes,
            None => self.sync(Which::All),
        }
    }

    /// Only streams whose last sync failed: one that is well is not asked again for another's sake.
    pub(super) fn sync_owed(&mut self) {
        self.syncing.is_timed = false;
        if self.syncing.under_way.is_none() && self.syncing.failures > 0 {
            self.sync(Which::Owed);
        }
    }

    pub(super) fn sync_ended(&mut self, synced: Synced) {
        let again = self.syncing.under_way.take() == Some(Again::Yes);
        for (stream, why) in synced.recreated {
            self.refuse_stream(&stream, why);
        }
        let failures = if synced.is_complete { 0 } else { self.syncing.failures + 1 };
        self.syncing.failures = failures;
        if again {
            self.sync_streams();
        } else if failures > 0 && !std::mem::replace(&mut self.syncing.is_timed, true) {
            let wait = waits(self.heartbeat()).delay(failures, self.registration.random.next());
            self.at(wait, Timer::Sync(Which::Owed));
        }
    }

    fn sync(&mut self, which: Which) {
        self.syncing.under_way = Some(Again::No);
        let streams = Arc::clone(&self.streams);
        self.operations.push(operation(&self.registration, move |registration| async move {
            Ok(Done::Synced(streams.sync(&registration, which).await?))
        }));
    }
}

/// A stream that is gone, or that its service throttles, is asked less and less, and by the workers
/// of a fleet at different times: what AWS allows to describe streams is of a whole account.
fn waits(heartbeat: Duration) -> Backoff {
    let longest = heartbeat * LONGEST_SYNC_WAIT;
    Backoff { initial: heartbeat, growth_percent: 200, longest }
}
