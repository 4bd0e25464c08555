//! Records that wait, by shard, and which of them may go now.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use kcl_core::protocol::Moment;

use super::FlightId;
use super::hold::{Hold, Tally};
use super::pending::Pending;
use super::slab::{Id, Queue, Slab};
use crate::shard_map::ShardMap;

/// What may be under way at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discipline {
    /// Anything: no order is kept.
    Any,
    /// One request for each lane, in a sink that keeps the order within it.
    ALaneAtATime,
    /// One record of the stream for each hash key.
    AKeyAtATime,
}

/// Every record that waits. Bounded by the producer's memory: each holds its share of it.
#[derive(Debug)]
pub(crate) struct Lanes {
    discipline: Discipline,
    lanes: Vec<Lane>,
    /// Keys with records that wait or are under way; only where keys are kept apart.
    keys: HashMap<u128, Key>,
}

/// The records for one shard.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// In order, unless keys are kept apart;
    records: Queue,
    /// then the keys that have records and none under way.
    keys: VecDeque<u128>,
    /// Records that may go, their bytes, and since when the oldest of them waits.
    count: usize,
    bytes: usize,
    oldest: Option<Moment>,
    /// How long nothing goes since the shard refused records.
    hold: Hold,
    is_under_way: bool,
}

#[derive(Debug, Default)]
struct Key {
    waiting: Queue,
    bytes: usize,
    is_under_way: bool,
}

/// What may go at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    pub count: usize,
    pub bytes: usize,
    pub oldest: Option<Moment>,
}

/// Where a request takes records from: the key it is at.
pub(crate) type At = Option<u128>;

impl Lane {
    fn is_free(&self, now: Moment) -> bool {
        self.count > 0 && !self.is_under_way && self.hold.due() <= now
    }

    fn note(&mut self, count: usize, bytes: usize, since: Moment) {
        self.count += count;
        self.bytes += bytes;
        self.oldest = Some(self.oldest.map_or(since, |oldest| oldest.min(since)));
    }

    fn forget(&mut self, count: usize, bytes: usize) {
        self.count -= count;
        self.bytes -= bytes;
        if self.count == 0 {
            self.oldest = None;
        }
    }
}

impl Lanes {
    pub(crate) fn new(discipline: Discipline) -> Self {
        Self { discipline, lanes: vec![Lane::default()], keys: HashMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.lanes.iter().all(|lane| lane.count == 0)
    }

    /// Queues a record behind those of its key.
    pub(crate) fn add(&mut self, slab: &mut Slab<Pending>, map: &ShardMap, id: Id) {
        let Some(pending) = slab.get(id) else { return };
        let (hash_key, size, since) = (pending.taken.hash_key, pending.size_bytes(), pending.since);
        let lane = &mut self.lanes[map.lane(hash_key)];
        if self.discipline != Discipline::AKeyAtATime {
            slab.push_back(&mut lane.records, id);
            return lane.note(1, size, since);
        }
        let key = self.keys.entry(hash_key).or_default();
        if !key.is_under_way {
            if key.waiting.is_empty() {
                lane.keys.push_back(hash_key);
            }
            lane.note(1, size, since);
        }
        slab.push_back(&mut key.waiting, id);
        key.bytes += size;
    }

    /// Queues records that were under way, in their order, before all others of their keys. Where
    /// keys are kept apart they wait until [`Lanes::land`] is told of the key.
    pub(crate) fn give_back(&mut self, slab: &mut Slab<Pending>, map: &ShardMap, ids: Vec<Id>) {
        for id in ids.into_iter().rev() {
            let Some(pending) = slab.get(id) else { continue };
            let (hash_key, size, since) =
                (pending.taken.hash_key, pending.size_bytes(), pending.since);
            let mut one = Queue::default();
            slab.push_back(&mut one, id);
            if self.discipline == Discipline::AKeyAtATime {
                let key = self.keys.entry(hash_key).or_default();
                key.is_under_way = true;
                slab.prepend(one, &mut key.waiting);
                key.bytes += size;
            } else {
                let lane = &mut self.lanes[map.lane(hash_key)];
                slab.prepend(one, &mut lane.records);
                lane.note(1, size, since);
            }
        }
    }

    /// A record's request is over: what waits of its key may go. Any number of times for one key.
    pub(crate) fn land(&mut self, slab: &Slab<Pending>, map: &ShardMap, hash_key: u128) {
        if self.discipline != Discipline::AKeyAtATime {
            return;
        }
        let Some(key) = self.keys.get_mut(&hash_key).filter(|key| key.is_under_way) else { return };
        key.is_under_way = false;
        let Some(first) = key.waiting.first().and_then(|id| slab.get(id)) else {
            self.keys.remove(&hash_key);
            return;
        };
        let lane = &mut self.lanes[map.lane(hash_key)];
        lane.keys.push_back(hash_key);
        lane.note(key.waiting.len(), key.bytes, first.since);
    }

    /// Goes over from one map to another: every record that waits moves to its lane. Nothing may be
    /// under way in the old ones.
    pub(crate) fn reroute(&mut self, slab: &mut Slab<Pending>, from: &ShardMap, map: &ShardMap) {
        // A shard that refuses does so after a listing too; a new one goes on as that whose keys it
        // has.
        let fresh = (0..map.lanes()).map(|lane| {
            let start = map.shard(lane).map_or(0, |(range, _)| range.start);
            let before = &self.lanes[from.lane(start)];
            Lane { hold: before.hold, ..Lane::default() }
        });
        let fresh = fresh.collect();
        let old: Vec<Lane> = std::mem::replace(&mut self.lanes, fresh);
        for mut lane in old {
            while let Some(id) = slab.pop_front(&mut lane.records) {
                self.add(slab, map, id);
            }
            for hash_key in lane.keys {
                let Some(key) = self.keys.get(&hash_key) else { continue };
                let Some(first) = key.waiting.first().and_then(|id| slab.get(id)) else { continue };
                let lane = &mut self.lanes[map.lane(hash_key)];
                lane.keys.push_back(hash_key);
                lane.note(key.waiting.len(), key.bytes, first.since);
            }
        }
    }

    /// What may go now, over all lanes.
    pub(crate) fn ready(&self, now: Moment) -> Ready {
        let free = self.lanes.iter().filter(|lane| lane.is_free(now));
        free.fold(Ready::default(), |sum, lane| Ready {
            count: sum.count + lane.count,
            bytes: sum.bytes + lane.bytes,
            oldest: match (sum.oldest, lane.oldest) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        })
    }

    /// The lanes that have something to give now.
    pub(crate) fn free(&self, now: Moment) -> impl Iterator<Item = usize> {
        let lanes = self.lanes.iter().enumerate();
        lanes.filter(move |(_, lane)| lane.is_free(now)).map(|(at, _)| at)
    }

    /// When the next lane has waited for its delay and its oldest record for `linger`.
    pub(crate) fn next_due(&self, linger: Duration) -> Option<Moment> {
        let waiting = self.lanes.iter().filter(|lane| !lane.is_under_way);
        waiting.filter_map(|lane| Some((lane.oldest? + linger).max(lane.hold.due()))).min()
    }

    /// The record that goes next from a lane, within a request that is at `at`.
    pub(crate) fn peek(&self, lane: usize, at: At) -> Option<Id> {
        let lane = &self.lanes[lane];
        if self.discipline != Discipline::AKeyAtATime {
            return lane.records.first();
        }
        let rest = at.and_then(|hash_key| self.keys.get(&hash_key)?.waiting.first());
        rest.or_else(|| self.keys.get(lane.keys.front()?)?.waiting.first())
    }

    /// Takes the record that [`Lanes::peek`] showed.
    pub(crate) fn take(
        &mut self,
        slab: &mut Slab<Pending>,
        lane: usize,
        at: &mut At,
    ) -> Option<Id> {
        let lane = &mut self.lanes[lane];
        if self.discipline != Discipline::AKeyAtATime {
            let id = slab.pop_front(&mut lane.records)?;
            lane.forget(1, slab.get(id)?.size_bytes());
            return Some(id);
        }
        let has_rest = |key: &Key| !key.waiting.is_empty();
        let current = at.filter(|hash_key| self.keys.get(hash_key).is_some_and(has_rest));
        let hash_key = match current {
            Some(hash_key) => hash_key,
            None => lane.keys.pop_front()?,
        };
        let key = self.keys.get_mut(&hash_key)?;
        if !key.is_under_way {
            // What is left of it waits until this request has landed.
            key.is_under_way = true;
            lane.forget(key.waiting.len(), key.bytes);
        }
        *at = Some(hash_key);
        let id = slab.pop_front(&mut key.waiting)?;
        key.bytes -= slab.get(id)?.size_bytes();
        Some(id)
    }

    /// A request with records of this lane is under way.
    pub(crate) fn launch(&mut self, lane: usize) {
        self.lanes[lane].is_under_way = self.discipline == Discipline::ALaneAtATime;
    }

    /// That request is over. If the shard refused some of it: the number of the wait that follows.
    pub(crate) fn landed(&mut self, lane: usize, flight: FlightId, tally: Tally) -> Option<u32> {
        let lane = self.lanes.get_mut(lane)?;
        lane.is_under_way = false;
        lane.hold.answered(flight, tally)
    }

    /// Nothing goes from the lane before this moment; `next` is the first request after that.
    pub(crate) fn hold(&mut self, lane: usize, due: Moment, next: FlightId) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.hold.begin(due, next);
        }
    }

    /// Takes the records out that wait next behind one of this hash key, which was under way and
    /// is told of with [`Lanes::land`] after this: of its key, or of its lane if keys are not kept
    /// apart. It ends at the first that is not `over`.
    pub(crate) fn take_behind(
        &mut self,
        slab: &mut Slab<Pending>,
        map: &ShardMap,
        hash_key: u128,
        over: impl Fn(&Pending) -> bool,
    ) -> Vec<Id> {
        let mut taken = Vec::new();
        let size = |slab: &Slab<Pending>, queue: Queue| {
            let next = queue.first().and_then(|id| slab.get(id)).filter(|pending| over(pending));
            next.map(Pending::size_bytes)
        };
        if self.discipline != Discipline::AKeyAtATime {
            let lane = &mut self.lanes[map.lane(hash_key)];
            while let Some(size) = size(slab, lane.records) {
                taken.extend(slab.pop_front(&mut lane.records));
                lane.forget(1, size);
            }
        } else if let Some(key) = self.keys.get_mut(&hash_key).filter(|key| key.is_under_way) {
            while let Some(size) = size(slab, key.waiting) {
                taken.extend(slab.pop_front(&mut key.waiting));
                key.bytes -= size;
            }
        }
        taken
    }

    /// Takes the records out that wait and have nothing of their key under way: of each key, or of
    /// each lane if keys are not kept apart, up to the first that is not `over`.
    pub(crate) fn take_over(
        &mut self,
        slab: &mut Slab<Pending>,
        over: impl Fn(&Pending) -> bool,
    ) -> Vec<Id> {
        let mut taken = Vec::new();
        let mut take = |queue: &mut Queue| {
            let (before, mut bytes) = (queue.len(), 0);
            while let Some(pending) = queue.first().and_then(|id| slab.get(id))
                && over(pending)
            {
                bytes += pending.size_bytes();
                taken.extend(slab.pop_front(queue));
            }
            (before - queue.len(), bytes)
        };
        for lane in &mut self.lanes {
            let (count, bytes) = take(&mut lane.records);
            lane.forget(count, bytes);
            for hash_key in std::mem::take(&mut lane.keys) {
                let Some(key) = self.keys.get_mut(&hash_key) else { continue };
                let (count, bytes) = take(&mut key.waiting);
                key.bytes -= bytes;
                let is_left = !key.waiting.is_empty();
                lane.forget(count, bytes);
                match is_left {
                    true => lane.keys.push_back(hash_key),
                    false => _ = self.keys.remove(&hash_key),
                }
            }
        }
        taken
    }

    /// Takes every record that waits out.
    pub(crate) fn drain(&mut self, slab: &mut Slab<Pending>) -> Vec<Id> {
        let mut queues: Vec<Queue> = self.lanes.iter().map(|lane| lane.records).collect();
        queues.extend(self.keys.values().map(|key| key.waiting));
        let lanes = self.lanes.len();
        self.lanes = std::iter::repeat_with(Lane::default).take(lanes).collect();
        self.keys.clear();
        let mut all = Vec::new();
        for mut queue in queues {
            all.extend(std::iter::from_fn(|| slab.pop_front(&mut queue)));
        }
        all
    }
}
