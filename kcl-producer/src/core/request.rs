//! Putting a request together.

use kcl_core::protocol::{HashKeyRange, Moment, ShardId};

use super::pending::{Pending, Taken};
use super::slab::Queue;
use super::{Core, Request};
use crate::limits::{AGGREGATE_RECORDS, MISSES};
use crate::sink::SinkRecord;
use crate::wrapping::{needs_wrapping, wrapped_bytes};

/// A request under way: what each record of the stream is made of.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    pub groups: Vec<Group>,
}

/// The records behind one record of the stream.
#[derive(Debug)]
pub(crate) struct Group {
    pub records: Queue,
    pub lane: usize,
    /// The shard it was meant for, as far as known.
    pub shard: Option<ShardId>,
    /// Whether it is an aggregate of several, which only that shard's readers take.
    pub is_aggregate: bool,
    /// Of the record of the stream: data and key.
    pub bytes: usize,
}

/// What is left of a request's bounds.
#[derive(Clone, Copy)]
struct Room {
    records: usize,
    bytes: usize,
}

impl Core {
    /// The next request to send now. Everything in it counts as under way until
    /// [`Core::land`](super::Core::land) is told of it.
    pub(crate) fn next_request(&mut self, now: Moment) -> Option<Request> {
        self.take_over_listing();
        if !self.may_launch() || self.hold.due() > now || !self.is_due(now) {
            return None;
        }
        let mut room = Room {
            records: self.options.batch_records.clamp(1, self.limits.request_records),
            bytes: self.options.batch_bytes.clamp(1, self.limits.request_bytes),
        };
        let mut lanes: Vec<usize> = self.lanes.free(now).collect();
        // Where the last request began is last now.
        let turn = self.next_flight as usize % lanes.len().max(1);
        lanes.rotate_left(turn);
        let (mut flight, mut records) = (Flight::default(), Vec::new());
        // One record of the stream from each lane in turn, until there is no room or nothing left.
        while !lanes.is_empty() && room.records > 0 {
            lanes.retain(|lane| {
                let built =
                    (room.records > 0).then(|| self.group(*lane, room, flight.groups.is_empty()));
                let Some((group, record)) = built.flatten() else { return false };
                let is_suspect = self.is_suspect(group.records);
                room.records = if is_suspect { 0 } else { room.records - 1 };
                room.bytes = room.bytes.saturating_sub(group.bytes);
                flight.groups.push(group);
                records.push(record);
                true
            });
        }
        if flight.groups.is_empty() {
            return None;
        }
        flight.groups.iter().for_each(|group| self.lanes.launch(group.lane));
        let id = self.next_flight;
        self.next_flight += 1;
        self.flights.insert(id, flight);
        self.counters.launched(records.len());
        Some(Request { id, records })
    }

    /// A listing is followed once nothing is under way in the lanes of the old one.
    fn take_over_listing(&mut self) {
        if self.flights.is_empty()
            && self.strays.is_empty()
            && let Some(map) = self.listing.next.take()
        {
            let before = std::mem::replace(&mut self.map, map);
            self.hot().set_open_shards(self.map.lanes());
            self.lanes.reroute(&mut self.slab, &before, &self.map);
        }
    }

    /// Whether requests may go out at all for now.
    pub(super) fn may_launch(&self) -> bool {
        let aggregates = self.aggregate_bytes().is_some();
        // Better a short wait than aggregates for shards that are no more.
        let waits_for_listing = aggregates && self.listing.is_wanted && self.listing.failures == 0;
        let waits = waits_for_listing || self.listing.next.is_some() || !self.strays.is_empty();
        !waits && self.width.has_room(self.flights.len())
    }

    /// Whether what may go is enough, or has waited long enough.
    fn is_due(&self, now: Moment) -> bool {
        let ready = self.lanes.ready(now);
        let Some(oldest) = ready.oldest else { return false };
        let is_full = ready.bytes >= self.options.batch_bytes
            || (self.aggregate_bytes().is_none() && ready.count >= self.options.batch_records);
        is_full || oldest + self.linger() <= now
    }

    fn is_suspect(&self, records: Queue) -> bool {
        let first = records.first().and_then(|id| self.slab.get(id));
        first.is_some_and(|pending| pending.is_suspect)
    }

    /// The next record of the stream from a lane, if there is room for it. An empty request takes
    /// one of any size.
    fn group(&mut self, lane: usize, room: Room, is_first: bool) -> Option<(Group, SinkRecord)> {
        let first = self.slab.get(self.lanes.peek(lane, None)?)?;
        if !is_first && (first.is_suspect || self.bytes_alone(first) > room.bytes) {
            return None;
        }
        let meant_for = self.map.shard(lane).cloned();
        let mut records = Queue::default();
        let aggregate_bytes = self.aggregate_bytes().filter(|_| self.listing.failures == 0);
        if let (Some(bytes), Some((range, _))) = (aggregate_bytes, &meant_for) {
            // No small aggregate at the end of a large request.
            if !is_first && room.bytes < bytes {
                return None;
            }
            records = self.collect(lane, bytes, *range);
        }
        if records.is_empty() {
            let id = self.lanes.take(&mut self.slab, lane, &mut None)?;
            self.slab.push_back(&mut records, id);
            self.slab.get_mut(id)?.attempts += 1;
        }
        let mut record = plain(self.slab.get(records.first()?)?);
        // Alone it needs no wrapping, unless readers would take it for an aggregate, for whatever
        // reason it is alone. Its own hash key then decides where it goes: it is never misplaced.
        let (is_aggregate, is_wrapped) = (records.len() > 1, self.is_wrapped(&record.data));
        if is_wrapped && self.builder.is_empty() {
            self.builder.push(&record.partition_key, record.explicit_hash_key, &record.data);
        }
        if is_aggregate || is_wrapped {
            record.explicit_hash_key = Some(record.hash_key);
            record.data = self.builder.finish();
        }
        self.builder.clear();
        let (shard, bytes) = (meant_for.map(|(_, shard)| shard), record.size_bytes());
        Some((Group { records, lane, shard, is_aggregate, bytes }, record))
    }

    /// Whether this data goes inside an aggregate also by itself.
    fn is_wrapped(&self, data: &[u8]) -> bool {
        self.aggregate_bytes().is_some() && needs_wrapping(data)
    }

    /// Bytes of a record by itself, as it is sent.
    fn bytes_alone(&self, pending: &Pending) -> usize {
        match self.is_wrapped(&pending.taken.record.data) {
            true => wrapped_bytes(&pending.taken.record),
            false => pending.size_bytes(),
        }
    }

    /// Takes records of a lane into an aggregate of at most so many bytes, key included.
    fn collect(&mut self, lane: usize, bytes: usize, range: HashKeyRange) -> Queue {
        let (mut records, mut at) = (Queue::default(), None);
        let (mut room, mut has_explicit) = (bytes, false);
        while records.len() < AGGREGATE_RECORDS
            && let Some(pending) = self.lanes.peek(lane, at).and_then(|id| self.slab.get(id))
        {
            let Taken { record, hash_key, .. } = &pending.taken;
            if records.is_empty() {
                room = bytes.saturating_sub(record.partition_key.as_str().len());
                has_explicit = record.explicit_hash_key.is_some();
            }
            let (key, explicit) = (&record.partition_key, record.explicit_hash_key);
            // One that belongs elsewhere, or went astray before, or is suspect, goes alone. Some
            // readers mistake the hash keys of aggregates in which not all have one, or none.
            let belongs = pending.misses < MISSES
                && !pending.is_suspect
                && range.contains(*hash_key)
                && explicit.is_some() == has_explicit;
            if !belongs || self.builder.len_with(key, explicit, record.data.len()) > room {
                break;
            }
            self.builder.push(key, explicit, &record.data);
            let Some(id) = self.lanes.take(&mut self.slab, lane, &mut at) else { break };
            self.slab.push_back(&mut records, id);
            if let Some(pending) = self.slab.get_mut(id) {
                pending.attempts += 1;
            }
        }
        records
    }
}

fn plain(pending: &Pending) -> SinkRecord {
    let (record, hash_key) = (&pending.taken.record, pending.taken.hash_key);
    SinkRecord {
        partition_key: record.partition_key.clone(),
        explicit_hash_key: record.explicit_hash_key,
        hash_key,
        data: record.data.clone(),
    }
}
