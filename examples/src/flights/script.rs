//! What happens to the fleet while it counts: each event is due at a fraction of the rows, and
//! waits for the one before to have settled.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use kcl_core::protocol::{Moment, ShardId, WorkerId};
use kcl_core::{Clock, Shard, StreamSource, SystemClock};

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
                fleet.stream.split_shard(id, middle)?;
                self.split = Some(id.clone());
                format!("the hottest shard, {id}, is split")
            }
            Act::Merge => {
                let open = open_shards(fleet).await?;
                let pair = coldest_pair(&open, self.split.as_ref(), records);
                let pair = pair.ok_or("no two shards touch")?;
                fleet.stream.merge_shards(&pair[0].id, &pair[1].id)?;
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
async fn open_shards(fleet: &Fleet) -> Result<Vec<Shard>, Box<dyn Error>> {
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
mod tests {
    use super::*;
    use kcl_core::protocol::HashKeyRange;

    fn shard(number: u32, range: (u128, u128), parent: Option<u32>) -> Shard {
        let id = |number: u32| ShardId::from(format!("shardId-{number:012}"));
        Shard {
            id: id(number),
            parents: parent.map(id).into_iter().collect(),
            range: HashKeyRange { start: range.0, end: range.1 },
            is_open: true,
            tip: None,
        }
    }

    /// Children in the pair that is merged, after one of so many shards was split.
    fn children_merged(shards: u32, split: u32) -> usize {
        let ranges = (0..shards).map(|at| (at, (u128::from(at) * 10, u128::from(at) * 10 + 9)));
        let open: Vec<_> = ranges
            .flat_map(|(at, (start, end))| match at == split {
                false => vec![shard(at, (start, end), None)],
                true => vec![
                    shard(shards, (start, start + 4), Some(split)),
                    shard(shards + 1, (start + 5, end), Some(split)),
                ],
            })
            .collect();
        let split = shard(split, (0, 0), None).id;
        let pair = coldest_pair(&open, Some(&split), &Records::new()).unwrap();
        assert_eq!(pair[0].range.end + 1, pair[1].range.start);
        pair.iter().filter(|shard| !shard.parents.is_empty()).count()
    }

    #[test]
    fn whichever_of_four_shards_is_split_two_others_are_merged() {
        assert_eq!((0..4).map(|split| children_merged(4, split)).max(), Some(0));
    }

    #[test]
    fn with_fewer_shards_a_child_is_merged_only_where_no_two_others_touch() {
        let of_three: Vec<_> = (0..3).map(|split| children_merged(3, split)).collect();
        assert_eq!(of_three, [0, 1, 0]);
        assert_eq!((children_merged(2, 0), children_merged(2, 1)), (1, 1));
        assert_eq!(children_merged(1, 0), 2);
    }

    #[test]
    fn the_hottest_is_split_and_the_coldest_are_merged() {
        let open: Vec<_> = (0..4u32)
            .map(|at| shard(at, (u128::from(at) * 10, u128::from(at) * 10 + 9), None))
            .collect();
        let counts = [5, 9, 2, 3];
        let records: Records =
            open.iter().zip(counts).map(|(shard, count)| (shard.id.clone(), count)).collect();
        assert_eq!(hottest(&open, &records).unwrap().id, open[1].id);
        assert_eq!(coldest_pair(&open, None, &records).unwrap()[0].id, open[2].id);
    }

    #[test]
    fn an_act_has_settled_once_every_open_shard_is_at_a_running_worker() {
        let open: Vec<_> = (0..4).map(|at| shard(at, (0, 0), None)).collect();
        let worker = |name: &str| WorkerId::new(name);
        let at = |names: &[&str]| -> BTreeMap<ShardId, WorkerId> {
            let ids = open.iter().map(|shard| shard.id.clone());
            ids.zip(names.iter().map(|name| worker(name))).collect()
        };
        let running = [worker("a"), worker("b"), worker("c")];
        let judge = |act, names: &[&str]| is_spread(act, &open, &at(names), &running);
        assert!(judge(Act::Kill, &["a", "a", "a", "b"]));
        assert!(!judge(Act::Join, &["a", "a", "a", "b"]), "not spread");
        assert!(judge(Act::Join, &["a", "a", "c", "b"]));
        assert!(!judge(Act::Join, &["a", "a", "b", "b"]), "nothing at the one who joined");
        assert!(!judge(Act::Kill, &["a", "c", "b"]), "one is on its way");
        assert!(!judge(Act::ShutDown, &["a", "a", "dead", "b"]));
    }

    #[test]
    fn the_feed_waits_for_each_act_and_runs_on_after_the_last() {
        let mut script = Script::new(1000);
        assert_eq!(script.full_pace_to(), 150);
        script.next = ACTS.len();
        script.pending = Some((Act::Merge, Moment::default()));
        assert_eq!((script.full_pace_to(), script.is_over()), (900, false));
        assert_eq!(script.waits_for(), Some("the merged shard is processed"));
        assert!(!script.is_stuck(Moment(GIVE_UP - Duration::from_millis(1))));
        assert!(script.is_stuck(Moment(GIVE_UP)));
        script.pending = None;
        assert_eq!((script.full_pace_to(), script.is_over()), (1000, true));
    }
}
