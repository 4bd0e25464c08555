//! What happens to the fleet while it counts: each event is due at a fraction of the rows, and
//! waits for the one before to have settled.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use kcl_core::protocol::{Moment, ShardId, WorkerId};
use kcl_core::{Clock, Shard, SystemClock};

use super::fleet::Fleet;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// One more worker joins.
    Join,
    /// The busiest worker is killed without a word.
    Kill,
    /// A worker is shut down cleanly.
    ShutDown,
    /// The hottest shard is split.
    Split,
    /// Two other shards are merged.
    Merge,
}

/// What happens, in percent of the rows.
const ACTS: [(Act, usize); 5] =
    [(Act::Join, 15), (Act::Kill, 30), (Act::ShutDown, 45), (Act::Split, 60), (Act::Merge, 75)];

/// Up to here (percent of the rows) the feed may go before the last act has settled.
const LAST: usize = 90;

/// The script of one run.
pub struct Script {
    rows: usize,
    next: usize,
    /// The act under way, and since when.
    pending: Option<(Act, Moment)>,
    split: Option<ShardId>,
}

/// Longer than anything of this takes to settle; waiting on would be in vain.
const GIVE_UP: Duration = Duration::from_secs(60);

impl Script {
    /// A script over so many rows.
    pub fn new(rows: usize) -> Self {
        Self { rows, next: 0, pending: None, split: None }
    }

    /// The row up to which the feed may run at full pace.
    pub fn full_pace_to(&self) -> usize {
        match ACTS.get(self.next) {
            Some((_, percent)) => self.rows * percent / 100,
            None if self.pending.is_some() => self.rows * LAST / 100,
            None => self.rows,
        }
    }

    /// True once every act has settled.
    pub fn is_over(&self) -> bool {
        self.next == ACTS.len() && self.pending.is_none()
    }

    /// True if the act under way has not settled for so long that it never will.
    pub fn is_stuck(&self, now: Moment) -> bool {
        self.pending.is_some_and(|(_, since)| now.since(since) >= GIVE_UP)
    }

    /// What the run still waits for, in words.
    pub fn waits_for(&self) -> Option<&'static str> {
        self.pending.map(|(act, _)| in_words(act))
    }

    /// Lets the next act happen if it is due; sentences to print.
    ///
    /// # Errors
    /// If an act cannot happen.
    pub async fn step(
        &mut self,
        put: usize,
        records: &Records,
        fleet: &mut Fleet,
    ) -> Result<Vec<String>, Box<dyn Error>> {
        let mut said = Vec::new();
        if let Some((act, since)) = self.pending {
            if !has_settled(act, fleet).await? {
                return Ok(said);
            }
            let took = SystemClock.monotonic().since(since);
            said.push(format!("{}, settled after {:.0} ms", in_words(act), millis(took)));
            self.pending = None;
        }
        let Some((act, percent)) = ACTS.get(self.next) else { return Ok(said) };
        if put < self.rows * percent / 100 {
            return Ok(said);
        }
        self.next += 1;
        said.push(self.perform(*act, records, fleet).await?);
        self.pending = Some((*act, SystemClock.monotonic()));
        Ok(said)
    }

    async fn perform(
        &mut self,
        act: Act,
        records: &Records,
        fleet: &mut Fleet,
    ) -> Result<String, Box<dyn Error>> {
        Ok(match act {
            Act::Join => format!("{} joins", fleet.start_worker()?),
            Act::Kill => format!("{} is killed without a word", fleet.kill(busiest(fleet))),
            Act::ShutDown => format!("{} is shut down", fleet.shut_down(busiest(fleet))),
            Act::Split => {
                let open = open_shards(fleet).await?;
                let Shard { id, range, .. } = hottest(&open, records).ok_or("no shard is open")?;
                let middle = range.start + (range.end - range.start) / 2 + 1;
                fleet.stream.split(id, middle).await?;
                self.split = Some(id.clone());
                format!("the hottest shard, {id}, is split")
            }
            Act::Merge => {
                let open = open_shards(fleet).await?;
                let pair = coldest_pair(&open, self.split.as_ref(), records);
                let pair = pair.ok_or("no two shards touch")?;
                fleet.stream.merge(&pair[0].id, &pair[1].id).await?;
                format!("{} and {} are merged", pair[0].id, pair[1].id)
            }
        })
    }
}

fn in_words(act: Act) -> &'static str {
    match act {
        Act::Join => "balanced with the new worker",
        Act::Kill => "the killed worker's shards are taken over",
        Act::ShutDown => "the leaving worker's shards are handed over",
        Act::Split => "the split shard's children are processed",
        Act::Merge => "the merged shard is processed",
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Records of each shard since the start.
type Records = BTreeMap<ShardId, u64>;

fn count(records: &Records, shard: &Shard) -> u64 {
    records.get(&shard.id).copied().unwrap_or(0)
}

fn hottest<'a>(open: &'a [Shard], records: &Records) -> Option<&'a Shard> {
    open.iter().max_by_key(|shard| count(records, shard))
}

/// The two touching shards with the fewest records, of `open` by hash key range. Children of the
/// split are left alone: the merge takes two others. With fewer than four shards at the start there
/// may be no two others that touch; then a child is one of them, and with one shard, both.
fn coldest_pair<'a>(
    open: &'a [Shard],
    split: Option<&ShardId>,
    records: &Records,
) -> Option<&'a [Shard]> {
    let is_child = |shard: &&Shard| split.is_some_and(|split| shard.parents.contains(split));
    let touching = |pair: &&[Shard]| pair[0].range.is_followed_by(&pair[1].range);
    let total = |pair: &[Shard]| pair.iter().map(|shard| count(records, shard)).sum::<u64>();
    let pairs = open.windows(2).filter(touching);
    pairs.min_by_key(|pair| (pair.iter().filter(is_child).count(), total(pair)))
}

/// Open shards by hash key range.
///
/// # Errors
/// If the stream cannot be listed.
pub async fn open_shards(fleet: &Fleet) -> Result<Vec<Shard>, Box<dyn Error>> {
    let shards = fleet.stream.source().list_shards().await?;
    let mut open: Vec<_> = shards.into_iter().filter(|shard| shard.is_open).collect();
    open.sort_by_key(|shard| shard.range);
    Ok(open)
}

fn busiest(fleet: &Fleet) -> usize {
    let workers = fleet.status().into_iter();
    workers.max_by_key(|(_, _, status)| status.shards.len()).map_or(0, |(index, ..)| index)
}

async fn has_settled(act: Act, fleet: &Fleet) -> Result<bool, Box<dyn Error>> {
    let Some(running) = fleet.running() else { return Ok(false) };
    let open = open_shards(fleet).await?;
    Ok(fleet.have_left() && is_spread(act, &open, &fleet.tracker.owners(), &running))
}

/// Every open shard is processed by a running worker (none is on its way from one to another), and
/// after a join they are spread evenly.
fn is_spread(
    act: Act,
    open: &[Shard],
    owners: &BTreeMap<ShardId, WorkerId>,
    running: &[WorkerId],
) -> bool {
    let mut loads: BTreeMap<_, usize> = running.iter().map(|id| (id, 0)).collect();
    for shard in open {
        let Some(load) = owners.get(&shard.id).and_then(|owner| loads.get_mut(owner)) else {
            return false;
        };
        *load += 1;
    }
    let spread = loads.values().max().zip(loads.values().min()).map_or(0, |(max, min)| max - min);
    act != Act::Join || spread <= 1
}

#[cfg(test)]
mod tests;
