//! Judging answers.

use std::collections::BTreeMap;

use kcl_core::protocol::{HashKeyRange, Moment};

use super::hold::Tally;
use super::pending::{End, Pending};
use super::request::{Flight, Group};
use super::slab::{Id, Queue};
use super::{Core, FlightId};
use crate::fate::Copies;
use crate::limits::MISSES;
use crate::options::{LostReply, Misplaced};
use crate::sink::{Outcome, Placed, Refusal, SinkError};

/// An aggregate in another shard than it was made for.
#[derive(Debug)]
pub(super) struct Stray {
    pub group: Group,
    placed: Placed,
}

/// What became of one record of the stream.
enum Landed {
    Taken(Placed),
    Refused(Refusal),
    /// One of several that were refused for what is wrong with some of them.
    Suspect(String),
    /// As is every record.
    StreamRefuses(String),
    Lost(String),
}

impl Core {
    /// The answer to a request.
    pub(crate) fn land(
        &mut self,
        id: FlightId,
        answer: Result<Vec<Outcome>, SinkError>,
        now: Moment,
    ) {
        let Some(flight) = self.flights.remove(&id) else { return };
        let is_answered = answer.is_ok();
        let lost_alone = match &answer {
            Err(SinkError::Unknown(why)) if self.width.is_alone(id) => Some(why.clone()),
            _ => None,
        };
        let landed = self.sort(id, answer, &flight, now);
        let mut lanes: BTreeMap<usize, Tally> = BTreeMap::new();
        // From the last to the first: what goes back into a lane goes before what is there.
        for (group, landed) in flight.groups.into_iter().zip(landed).rev() {
            let tally = lanes.entry(group.lane).or_default();
            match landed {
                Landed::Taken(placed) => {
                    tally.taken += 1;
                    self.taken(group, placed, now);
                }
                Landed::Refused(refusal) => {
                    tally.refused += usize::from(!matches!(refusal, Refusal::Never(_)));
                    self.counters.refused(&refusal);
                    self.refused(group, &refusal, now);
                }
                Landed::Suspect(why) => self.suspect(group, &why, now),
                Landed::StreamRefuses(why) => {
                    let ids = self.ids(group.records);
                    self.again(ids, Retry::Never(End::StreamRefuses), &why, now);
                }
                Landed::Lost(why) => self.lost(group, &why, now),
            }
        }
        for (lane, tally) in lanes {
            // A request that failed as a whole says nothing of a shard.
            let tally = if is_answered { tally } else { Tally::default() };
            if let Some(attempt) = self.lanes.landed(lane, id, tally) {
                let due = self.delay(attempt, now);
                self.lanes.hold(lane, due, self.next_flight);
            }
        }
        if let Some(why) = lost_alone {
            self.give_up_waiting(&why, now);
        }
    }

    /// With one request at a time, each lost after its whole timeout, tens of thousands of keys
    /// would have their turns, and so their fates, long after their patience.
    fn give_up_waiting(&mut self, why: &str, now: Moment) {
        let patience = self.options.patience;
        let over = |pending: &Pending| pending.is_over(patience, now);
        for id in self.lanes.take_over(&mut self.slab, over) {
            self.fail(id, End::GivenUp, why);
        }
    }

    /// The answer, group by group. A request that failed as a whole holds up all lanes.
    fn sort(
        &mut self,
        id: FlightId,
        answer: Result<Vec<Outcome>, SinkError>,
        flight: &Flight,
        now: Moment,
    ) -> Vec<Landed> {
        let count = flight.groups.len();
        let error = match answer {
            Ok(outcomes) if outcomes.len() == count => {
                self.hold.is_well();
                self.width.answered(id);
                let landed = outcomes.into_iter().map(|outcome| match outcome {
                    Ok(placed) => Landed::Taken(placed),
                    Err(refusal) => Landed::Refused(refusal),
                });
                return landed.collect();
            }
            Ok(outcomes) => {
                SinkError::Unknown(format!("{} outcomes for {count} records", outcomes.len()))
            }
            Err(error) => error,
        };
        self.counters.request_failed(&error);
        match error {
            // The service is well.
            SinkError::Invalid(_) => {
                self.hold.is_well();
                self.width.answered(id);
            }
            // Nothing of it is tried again.
            SinkError::Never(_) => {}
            SinkError::NotNow(_) | SinkError::Unknown(_) => {
                if matches!(error, SinkError::Unknown(_)) {
                    self.width.lost(id, self.next_flight);
                }
                if let Some(attempt) = self.hold.failed(id) {
                    let due = self.delay(attempt, now);
                    self.hold.begin(due, self.next_flight);
                }
            }
        }
        let is_alone = count == 1 && self.ids(flight.groups[0].records).len() == 1;
        let each = || match &error {
            SinkError::NotNow(why) => Landed::Refused(Refusal::NotNow(why.clone())),
            SinkError::Invalid(why) if is_alone => Landed::Refused(Refusal::Never(why.clone())),
            SinkError::Invalid(why) => Landed::Suspect(why.clone()),
            SinkError::Never(why) => Landed::StreamRefuses(why.clone()),
            SinkError::Unknown(why) => Landed::Lost(why.clone()),
        };
        std::iter::repeat_with(each).take(count).collect()
    }

    fn taken(&mut self, group: Group, placed: Placed, now: Moment) {
        self.note_load(&group, &placed, now);
        if group.shard.as_ref().is_some_and(|shard| *shard != placed.shard) {
            self.listing.is_wanted = true;
            if group.is_aggregate {
                self.counters.strayed();
                self.strays.push(Stray { group, placed });
                return;
            }
        }
        for (id, subsequence) in self.ids(group.records).into_iter().zip(0..) {
            self.received(id, &placed, subsequence);
        }
    }

    fn note_load(&mut self, group: &Group, placed: &Placed, now: Moment) {
        let ids = self.ids(group.records);
        let mut hot = self.hot();
        hot.note_shard(now, &placed.shard, group.bytes as u64);
        for pending in ids.iter().filter_map(|id| self.slab.get(*id)) {
            let (key, bytes) = (&pending.taken.record.partition_key, pending.size_bytes() as u64);
            hot.note_key(&placed.shard, pending.taken.hash_key, key, bytes);
        }
    }

    fn received(&mut self, id: Id, placed: &Placed, subsequence: u64) {
        let Some(pending) = self.slab.get(id) else { return };
        let (hash_key, fate) = (pending.taken.hash_key, pending.receipt(placed, subsequence));
        self.settle(id, fate);
        self.lanes.land(&self.slab, &self.map, hash_key);
    }

    fn refused(&mut self, group: Group, refusal: &Refusal, now: Moment) {
        let ids = self.ids(group.records);
        match refusal {
            Refusal::Never(why) => self.again(ids, Retry::Never(End::Refused), why, now),
            Refusal::Throttled(why) | Refusal::NotNow(why) => {
                self.again(ids, Retry::Later, why, now);
            }
            Refusal::Unknown(why) => self.lost(group, why, now),
        }
    }

    fn suspect(&mut self, group: Group, why: &str, now: Moment) {
        let ids = self.ids(group.records);
        for id in &ids {
            if let Some(pending) = self.slab.get_mut(*id) {
                pending.is_suspect = true;
            }
        }
        self.again(ids, Retry::Anew, why, now);
    }

    fn lost(&mut self, group: Group, why: &str, now: Moment) {
        let ids = self.ids(group.records);
        for id in &ids {
            if let Some(pending) = self.slab.get_mut(*id) {
                pending.copies = Copies::OneOrMore;
            }
        }
        let retry = match self.options.lost_reply {
            LostReply::Retry => Retry::Later,
            LostReply::Report => Retry::Never(End::Unknown),
        };
        self.again(ids, retry, why, now);
    }

    /// Queues records again that were under way, or tells their fate.
    fn again(&mut self, ids: Vec<Id>, retry: Retry, why: &str, now: Moment) {
        let hash_keys: Vec<u128> =
            ids.iter().filter_map(|id| Some(self.slab.get(*id)?.taken.hash_key)).collect();
        let mut returned = Vec::new();
        for id in ids {
            let Some(pending) = self.slab.get(id) else { continue };
            let is_over = pending.is_over(self.options.patience, now);
            match retry {
                Retry::Later | Retry::Anew if is_over => self.fail(id, End::GivenUp, why),
                Retry::Later | Retry::Anew => returned.push(id),
                Retry::Never(end) => self.fail(id, end, why),
            }
        }
        self.counters.retried(returned.len());
        self.lanes.give_back(&mut self.slab, &self.map, returned);
        for hash_key in hash_keys {
            if retry.is_outage() {
                self.give_up_behind(hash_key, why, now);
            }
            self.lanes.land(&self.slab, &self.map, hash_key);
        }
    }

    /// In an outage a key's records would have their turn one by one, each after a whole wait, and
    /// the last of them its fate long after its patience.
    fn give_up_behind(&mut self, hash_key: u128, why: &str, now: Moment) {
        let patience = self.options.patience;
        let over = |pending: &Pending| pending.is_over(patience, now);
        for id in self.lanes.take_behind(&mut self.slab, &self.map, hash_key, over) {
            self.fail(id, End::GivenUp, why);
        }
    }

    /// Judges aggregates in other shards than meant, once the shards were listed anew or could not
    /// be: what belongs to the shard that has it is there for every reader, the rest is put again.
    pub(super) fn settle_strays(&mut self, now: Moment) {
        for stray in std::mem::take(&mut self.strays).into_iter().rev() {
            let listed = self.listing.next.as_ref();
            let range = listed.and_then(|map| map.range(&stray.placed.shard));
            self.settle_stray(stray, range, now);
        }
    }

    fn settle_stray(&mut self, stray: Stray, range: Option<HashKeyRange>, now: Moment) {
        let ids = self.ids(stray.group.records);
        let is_foreign = |core: &Self, id: &Id| {
            let hash_key = core.slab.get(*id).map(|pending| pending.taken.hash_key);
            hash_key.is_some_and(|hash_key| !range.is_some_and(|range| range.contains(hash_key)))
        };
        let all =
            self.options.misplaced == Misplaced::All && ids.iter().any(|id| is_foreign(self, id));
        let mut returned = Vec::new();
        for (id, subsequence) in ids.into_iter().zip(0..) {
            if all || is_foreign(self, &id) {
                returned.push(id);
            } else {
                self.received(id, &stray.placed, subsequence);
            }
        }
        for id in &returned {
            if let Some(pending) = self.slab.get_mut(*id) {
                // Without knowledge of the shards only a record by itself goes where it belongs.
                pending.misses = if range.is_some() { pending.misses + 1 } else { MISSES };
                pending.copies = Copies::OneOrMore;
            }
        }
        self.again(returned, Retry::Anew, STRAYED, now);
    }

    /// The records of a queue, which stays as it is.
    fn ids(&self, records: Queue) -> Vec<Id> {
        self.slab.ids(records)
    }
}

const STRAYED: &str = "the stream was resharded, and the aggregate came into another shard";

/// Whether records that were under way are put again.
#[derive(Clone, Copy)]
enum Retry {
    /// While they have patience: the stream took none for now.
    Later,
    /// While they have patience: the stream is well.
    Anew,
    Never(End),
}

impl Retry {
    /// Whether what waits behind would have fared no better.
    fn is_outage(self) -> bool {
        matches!(self, Self::Later | Self::Never(End::Unknown))
    }
}
