//! What must hold at the end of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::protocol::{Lease, LeaseKey, LeaseTiming, Moment, Position, Row, ShardId, WorkerRow};
use kcl_core::{LeaseTable, Scan, Shard};

use super::fleet::Place;
use super::work::End;
use super::world::World;
use crate::history::{
    Entry, Violation, What, check_safety, every_open_shard_is_held_evenly,
    every_place_has_a_live_worker, every_record_given_up_on_is_kept, every_record_is_delivered,
    leases_tile_the_hash_space, no_shard_is_dropped, nothing_moves,
};

/// A fleet that has less time than P6 promises to heal in is watched so long: nothing may move.
const QUIET: Duration = Duration::from_secs(20);

/// The longest that passes until a round starts: a minute and its jitter.
const LONGEST_ROUND: Duration = Duration::from_secs(75);

/// P6 promises a fleet with these leases that it has healed so long after its last fault.
pub(super) fn healed_within(lease_duration: Duration) -> Duration {
    // No processor here blocks, so there is no grace.
    let timing = LeaseTiming::new(lease_duration, Duration::ZERO);
    LONGEST_ROUND + (timing.take() + timing.heartbeat()) * 2
}

/// What P6 and P8 are judged by.
struct Rows {
    workers: Vec<WorkerRow>,
    leases: BTreeMap<LeaseKey, Lease>,
    shards: Vec<Shard>,
}

impl World {
    /// Nothing here waits: table and stream are asked past the faults, and answer at once.
    async fn rows(&self) -> Rows {
        let rows = self.table.scan(Scan::Coordination).await.unwrap_or_default();
        let workers = rows.into_iter().filter_map(Row::into_worker).collect();
        let rows = self.table.scan(Scan::Leases).await.unwrap_or_default();
        let leases = rows.into_iter().filter_map(Row::into_lease);
        let leases = leases.map(|lease| (lease.key.clone(), lease)).collect();
        let shards = self.yard.source.list_shards().await.unwrap_or_default();
        Rows { workers, leases, shards }
    }

    /// P6 by the time it promises. The end of a run, a minute later, would pass a slower fleet.
    pub(super) async fn judge_healed(&mut self, at: Moment) {
        let rows = self.rows().await;
        self.judge_fleet(at, &rows);
    }

    fn judge_fleet(&mut self, at: Moment, Rows { workers, leases, shards }: &Rows) {
        self.violations.extend(every_open_shard_is_held_evenly(at, workers, leases, shards));
        let place = |place: &Place| (place.name().to_owned(), place.worker_id());
        let places = self.places.iter().map(place).collect();
        self.violations.extend(every_place_has_a_live_worker(at, workers, &places));
    }

    /// After the faults stopped: nothing lost, every open shard held, the fleet even and at rest.
    /// Gives back the history that was judged.
    pub(super) async fn judge(&mut self, end: Moment) -> Vec<Entry> {
        let history = self.recorder.take();
        self.violations.extend(check_safety(&history));
        self.violations.extend(every_record_is_delivered(&history));
        // Retention is a day here.
        self.violations.extend(no_shard_is_dropped(&history));
        // Rounds come a minute apart, and may move what they must not too.
        let healed = self.faults.until() + healed_within(self.yard.lease_duration);
        let since = healed.min(Moment(end.0.saturating_sub(QUIET)));
        self.violations.extend(nothing_moves(&history, since, end));
        let rows = self.rows().await;
        self.judge_fleet(end, &rows);
        let Rows { leases, shards, .. } = rows;
        self.violations.extend(leases_tile_the_hash_space(end, &leases, &shards));
        let letters = self.yard.dead_letters.drain();
        self.violations.extend(every_record_given_up_on_is_kept(&history, &letters));
        let mut put = self.producer.take_put();
        if !put.is_empty() {
            let trimmed = trimmed(&history);
            put.retain(|put| !trimmed.contains(&(put.shard.clone(), put.position)));
        }
        let end = End {
            at: end,
            calm: self.faults.until(),
            put: &put,
            dead_letters: &letters,
            table: &self.table,
            leases: &leases,
            history: &history,
        };
        let at = end.at;
        let broken = |(property, what)| Violation { property, at, what };
        self.violations.extend(self.yard.work.judge(&end).into_iter().map(broken));
        history
    }
}

/// Records that retention passed before they were read: nobody owes them.
fn trimmed(history: &[Entry]) -> BTreeSet<(ShardId, Position)> {
    let trimmed = history.iter().filter_map(|entry| match &entry.what {
        What::Trimmed { shard, positions } => Some((shard, positions)),
        _ => None,
    });
    let each = |(shard, positions): (&ShardId, &Vec<Position>)| -> Vec<_> {
        positions.iter().map(|position| (shard.clone(), *position)).collect()
    };
    trimmed.flat_map(each).collect()
}
