//! Naming hot shards, with the key to blame and the remedy.

mod sketch;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kcl_core::PartitionKey;
use kcl_core::protocol::{Moment, ShardId};

use crate::limits::{HOT_KEYS, SHARD_IN_BYTES, SHARD_IN_RECORDS, TOP_KEYS};

use sketch::{HeavyKey, Sketch};

/// A shard above this share of a limit is hot.
const SHARE_OF_LIMIT: f64 = 0.8;
/// A key above this share of the stream is to blame for its shard,
const SHARE_OF_KEY: f64 = 0.1;
/// if that carries more than so many times the mean,
const TIMES_THE_MEAN: f64 = 1.15;
/// and has at least this share of a limit: below it there is nothing to remedy, however uneven.
const LEAST_OF_LIMIT: f64 = 0.05;
/// Limits are by the second: no load is taken for a larger one because it came in less.
const SHORTEST: Duration = Duration::from_secs(1);

/// A shard that takes too much of a stream, as its producer sees it: other producers' records are
/// not known here. As text, a sentence with the remedy.
#[derive(Clone, Debug, PartialEq)]
pub struct HotShard {
    /// The shard.
    pub shard: ShardId,
    /// Its load as a share of what Kinesis lets a shard take, in bytes or records, whichever is
    /// more; 1 is all of it.
    pub of_limit: f64,
    /// Its share of the producer's bytes, from 0 to 1.
    pub of_stream: f64,
    /// Its bytes as a multiple of the mean of all open shards.
    pub times_mean: f64,
    /// The keys that brought most bytes into it, the heaviest first: up to [`TOP_KEYS`] of those
    /// that a sketch of the stream's heaviest keys follows.
    pub top_keys: Vec<HotKey>,
}

/// A key that brought much into a shard. Shares are from 0 to 1, of bytes of data and keys.
#[derive(Clone, Debug, PartialEq)]
pub struct HotKey {
    /// The key.
    pub key: PartitionKey,
    /// Its share of the stream.
    pub of_stream: f64,
    /// Its share of the shard.
    pub of_shard: f64,
}

impl fmt::Display for HotShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, share) = (self.of_limit * 100.0, self.of_stream * 100.0);
        write!(
            f,
            "{} is hot: at {limit:.0}% of its limit, with {share:.0}% of the bytes, {:.1} times \
             the mean; ",
            self.shard, self.times_mean
        )?;
        let Some((top, others)) = self.top_keys.split_first() else {
            return f.write_str("no single key is to blame; split the shard");
        };
        if top.of_shard > 0.5 {
            let remedy = "a split would not help: choose a key with more values";
            write!(f, "key {top}{}; {remedy}", Others(others))
        } else if top.of_stream > SHARE_OF_KEY {
            let remedy = "split the shard, or choose a key with more values";
            write!(f, "key {top}{}; {remedy}", Others(others))
        } else {
            let none = "no single key is to blame";
            write!(f, "{none} (the top one, {top}{}); split the shard", Others(others))
        }
    }
}

impl fmt::Display for HotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stream, shard) = (self.of_stream * 100.0, self.of_shard * 100.0);
        let key = &self.key;
        write!(f, "{key:?} is {stream:.0}% of the stream and {shard:.0}% of the shard")
    }
}

/// The keys after the top one, with what they are of the shard.
struct Others<'a>(&'a [HotKey]);

impl fmt::Display for Others<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, HotKey { key, of_shard, .. }) in self.0.iter().enumerate() {
            let joined = if number == 0 { ", before" } else { " and" };
            write!(f, "{joined} {key:?} with {:.0}%", of_shard * 100.0)?;
        }
        Ok(())
    }
}

/// What went into the shards lately. Memory: the shards seen and 64 keys, twice.
#[derive(Debug)]
pub(crate) struct HotWindow {
    /// Of one of the two panes.
    pane: Duration,
    panes: [Pane; 2],
    open_shards: usize,
}

#[derive(Debug)]
struct Pane {
    since: Option<Moment>,
    /// When something was noted last.
    until: Option<Moment>,
    shards: BTreeMap<ShardId, Load>,
    keys: Sketch,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    /// As the stream counts them: aggregates are one record each.
    bytes: u64,
    records: u64,
    /// Of the records inside.
    inner_bytes: u64,
}

impl Pane {
    fn new(since: Option<Moment>) -> Self {
        Self { since, until: None, shards: BTreeMap::new(), keys: Sketch::new(HOT_KEYS) }
    }
}

impl HotWindow {
    /// Over this time; half of it right after it moved on.
    pub(crate) fn new(window: Duration) -> Self {
        Self { pane: window / 2, panes: [Pane::new(None), Pane::new(None)], open_shards: 1 }
    }

    pub(crate) fn set_open_shards(&mut self, open: usize) {
        self.open_shards = open;
    }

    /// A record of the stream went into a shard.
    pub(crate) fn note_shard(&mut self, now: Moment, shard: &ShardId, bytes: u64) {
        let since = *self.panes[1].since.get_or_insert(now);
        if now.since(since) >= self.pane {
            let last = std::mem::replace(&mut self.panes[1], Pane::new(Some(now)));
            // After a long silence there is nothing to remember.
            let is_recent = now.since(since) < self.pane * 2;
            self.panes[0] = if is_recent { last } else { Pane::new(None) };
        }
        self.panes[1].until = Some(now);
        let shards = &mut self.panes[1].shards;
        if !shards.contains_key(shard) {
            shards.insert(shard.clone(), Load::default());
        }
        if let Some(load) = shards.get_mut(shard) {
            load.bytes += bytes;
            load.records += 1;
        }
    }

    /// What one key brought into a shard that was just noted.
    pub(crate) fn note_key(
        &mut self,
        shard: &ShardId,
        hash_key: u128,
        key: &PartitionKey,
        bytes: u64,
    ) {
        let pane = &mut self.panes[1];
        pane.keys.add(hash_key, key, shard, bytes);
        if let Some(load) = pane.shards.get_mut(shard) {
            load.inner_bytes += bytes;
        }
    }

    /// The hot shards, the hottest first.
    pub(crate) fn hot_shards(&self, now: Moment) -> Vec<HotShard> {
        // Panes move on only with what is noted: after that the window ends by itself.
        let is_recent = |until| now.since(until) <= self.pane * 2;
        let panes = || self.panes.iter().filter(|pane| pane.until.is_some_and(is_recent));
        let since = panes().filter_map(|pane| pane.since).min();
        let seconds = since.map_or(Duration::ZERO, |since| now.since(since)).max(SHORTEST);
        let seconds = seconds.as_secs_f64();
        let mut shards: BTreeMap<&ShardId, Load> = BTreeMap::new();
        for (shard, load) in panes().flat_map(|pane| &pane.shards) {
            let sum = shards.entry(shard).or_default();
            sum.bytes += load.bytes;
            sum.records += load.records;
            sum.inner_bytes += load.inner_bytes;
        }
        let total: u64 = shards.values().map(|load| load.bytes).sum();
        let inner: u64 = shards.values().map(|load| load.inner_bytes).sum();
        let mean = total as f64 / self.open_shards.max(shards.len()).max(1) as f64;
        let keys = HeavyKey::sum(panes().flat_map(|pane| pane.keys.heavy()));
        let judged = shards.into_iter().filter_map(|(shard, load)| {
            let of_records = load.records as f64 / seconds / SHARD_IN_RECORDS as f64;
            let of_bytes = load.bytes as f64 / seconds / SHARD_IN_BYTES as f64;
            let of_limit = of_records.max(of_bytes);
            let top_keys = top_keys(&keys, shard, load.inner_bytes, inner);
            let times_mean = load.bytes as f64 / mean;
            let is_key_hot = of_limit >= LEAST_OF_LIMIT
                && times_mean > TIMES_THE_MEAN
                && top_keys.first().is_some_and(|key| key.of_stream > SHARE_OF_KEY);
            let of_stream = load.bytes as f64 / total.max(1) as f64;
            let shard = shard.clone();
            (of_limit > SHARE_OF_LIMIT || is_key_hot).then_some(HotShard {
                shard,
                of_limit,
                of_stream,
                times_mean,
                top_keys,
            })
        });
        let mut hot: Vec<_> = judged.collect();
        hot.sort_by(|a, b| b.of_stream.total_cmp(&a.of_stream));
        hot
    }
}

/// The heaviest keys of a shard, as shares of what is inside it and of what is inside the stream.
fn top_keys(keys: &[HeavyKey], shard: &ShardId, of_shard: u64, of_stream: u64) -> Vec<HotKey> {
    let mut heavy: Vec<_> = keys.iter().filter(|heavy| heavy.shard == *shard).collect();
    heavy.sort_by_key(|heavy| Reverse(heavy.bytes));
    let told = heavy.into_iter().take(TOP_KEYS).map(|heavy| HotKey {
        key: heavy.key.clone(),
        of_stream: heavy.bytes as f64 / of_stream.max(1) as f64,
        of_shard: (heavy.bytes as f64 / of_shard.max(1) as f64).min(1.0),
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(1_000_000 + millis))
    }

    /// Each shard's keys with their records of 1,000 bytes, within the first second.
    fn window(shards: &[&[(&str, u64)]], open: usize) -> HotWindow {
        let mut window = HotWindow::new(Duration::from_secs(60));
        window.set_open_shards(open);
        for (number, keys) in shards.iter().enumerate() {
            let shard = ShardId::from(format!("shardId-{number:012}"));
            for (key, records) in *keys {
                for _ in 0..*records {
                    window.note_shard(at(0), &shard, 1000);
                    window.note_key(&shard, kcl_records::hash_key(key), &(*key).into(), 1000);
                }
            }
        }
        window
    }

    fn sentences(window: &HotWindow, millis: u64) -> Vec<String> {
        window.hot_shards(at(millis)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_shard_above_four_fifths_of_a_limit_is_named() {
        let keys = [("a", 300), ("b", 310), ("c", 290)];
        let even = window(&[&keys, &[("d", 300), ("e", 300), ("f", 300)]], 2);
        assert_eq!(sentences(&even, 5000), [""; 0], "18% over five seconds");
        let named = sentences(&even, 1000);
        assert_eq!(named.len(), 2);
        assert!(
            named[0].starts_with("shardId-000000000000 is hot: at 90% of its limit"),
            "{named:?}"
        );
        assert_eq!(named, sentences(&even, 1), "not 900 times more since it came in a millisecond");
    }

    #[test]
    fn a_key_that_makes_its_shard_heavier_than_the_mean_is_blamed() {
        let skewed = window(&[&[("UA", 900), ("AA", 100)], &[("B6", 200), ("DL", 200)]], 2);
        let named = sentences(&skewed, 10_000);
        assert_eq!(named.len(), 1);
        assert!(named[0].contains("key \"UA\" is 64% of the stream"), "{named:?}");
        assert!(named[0].contains("of the shard, before \"AA\" with 10%; a split"), "{named:?}");
        assert!(named[0].contains("a split would not help"), "{named:?}");
        let shared = window(&[&[("UA", 450), ("AA", 450)], &[("B6", 200), ("DL", 200)]], 2);
        let named = sentences(&shared, 10_000);
        assert!(
            named[0].ends_with("split the shard, or choose a key with more values"),
            "{named:?}"
        );
    }

    #[test]
    fn the_three_heaviest_keys_of_a_shard_are_named_the_heaviest_first() {
        let keys = [("a", 100), ("b", 300), ("c", 250), ("d", 50), ("e", 200)];
        let hot = window(&[&keys, &[("f", 100)]], 2).hot_shards(at(1_000));
        let told = |of: fn(&HotKey) -> f64| {
            let keys = hot[0].top_keys.iter();
            keys.map(|key| (key.key.as_str().to_owned(), (of(key) * 100.0).round())).collect()
        };
        let of_shard: Vec<_> = told(|key| key.of_shard);
        let named = |shares: [(&str, f64); 3]| shares.map(|(key, of)| (key.to_owned(), of));
        assert_eq!(of_shard, named([("b", 33.0), ("c", 28.0), ("e", 22.0)]));
        let of_stream: Vec<_> = told(|key| key.of_stream);
        assert_eq!(of_stream, named([("b", 30.0), ("c", 25.0), ("e", 20.0)]));
        let named = hot[0].to_string();
        let keys = "key \"b\" is 30% of the stream and 33% of the shard, before \"c\" with 28% \
                    and \"e\" with 22%; split the shard, or choose a key with more values";
        assert!(named.ends_with(keys), "{named}");
    }

    #[test]
    fn a_shard_that_is_hot_by_no_single_key_is_to_be_split() {
        let names: Vec<String> = (0..100).map(|number| format!("key-{number}")).collect();
        let keys: Vec<_> = names.iter().map(|name| (name.as_str(), 9)).collect();
        let named = sentences(&window(&[&keys, &[("a", 100)]], 2), 1_000);
        assert_eq!(named.len(), 1, "{named:?}");
        assert!(named[0].contains("at 90% of its limit, with 90% of the bytes"), "{named:?}");
        assert!(named[0].contains("no single key is to blame"), "{named:?}");
        assert!(named[0].ends_with("split the shard"), "{named:?}");
    }

    #[test]
    fn the_shard_with_the_largest_share_of_the_bytes_comes_first() {
        let few: &[&[(&str, u64)]] = &[&[("a", 900)], &[("b", 2_700)], &[("c", 5_400)]];
        let hot = window(few, 3).hot_shards(at(1_000));
        let shares = hot.iter().map(|hot| (hot.shard.as_str(), (hot.of_stream * 100.0).round()));
        let expected = [
            ("shardId-000000000002", 60.0),
            ("shardId-000000000001", 30.0),
            ("shardId-000000000000", 10.0),
        ];
        assert_eq!(shares.collect::<Vec<_>>(), expected);
        assert!((hot[1].times_mean - 0.9).abs() < 0.01, "{hot:?}");
    }

    #[test]
    fn shards_without_records_count_in_the_mean() {
        let keys: &[&[(&str, u64)]] = &[&[("UA", 900), ("AA", 100)]];
        assert_eq!(sentences(&window(keys, 1), 10_000), [""; 0], "it is the mean");
        assert_eq!(sentences(&window(keys, 4), 10_000).len(), 1);
    }

    #[test]
    fn what_went_in_long_ago_is_forgotten() {
        let mut window = window(&[&[("UA", 1_800)], &[("AA", 200)]], 2);
        assert_eq!(sentences(&window, 20_000).len(), 1);
        let shard = ShardId::from("shardId-000000000001");
        for second in 1..=100 {
            window.note_shard(at(second * 1000), &shard, 100_000);
            window.note_key(&shard, 1, &"DL".into(), 100_000);
        }
        let named = sentences(&window, 100_000);
        assert!(named.len() == 1 && named[0].contains("\"DL\" is 100% of the stream"), "{named:?}");
    }

    #[test]
    fn a_shard_is_hot_no_longer_once_its_window_is_over() {
        let skewed = window(&[&[("UA", 9_000)], &[("AA", 1_000)]], 2);
        assert_eq!(sentences(&skewed, 60_000).len(), 1);
        assert_eq!(sentences(&skewed, 60_001), [""; 0], "nothing went in for a minute");
        // What went in since is measured by itself.
        let mut again = skewed;
        let shard = ShardId::from("shardId-000000000001");
        for _ in 0..100 {
            again.note_shard(at(3_600_000), &shard, 1000);
            again.note_key(&shard, 1, &"DL".into(), 1000);
        }
        let hot = again.hot_shards(at(3_601_000));
        assert_eq!(hot.len(), 1, "{hot:?}");
        assert!((0.09..0.11).contains(&hot[0].of_limit), "{hot:?}");
    }

    #[test]
    fn a_key_is_not_blamed_for_a_load_that_is_next_to_nothing() {
        let mut window = HotWindow::new(Duration::from_secs(60));
        window.set_open_shards(2);
        let shard = ShardId::from("shardId-000000000000");
        window.note_shard(at(0), &shard, 10);
        window.note_key(&shard, 1, &"UA".into(), 10);
        assert_eq!(sentences(&window, 1), [""; 0]);
    }

    #[test]
    fn a_heavy_key_is_found_among_many() {
        let mut window = HotWindow::new(Duration::from_secs(60));
        window.set_open_shards(2);
        let shards = ["shardId-000000000000", "shardId-000000000001"].map(ShardId::from);
        for number in 0..100_000u64 {
            let key = if number % 5 == 0 { "heavy".to_owned() } else { format!("key-{number}") };
            let hash_key = kcl_records::hash_key(&key);
            let shard = &shards[usize::from(key != "heavy" && hash_key >> 127 == 1)];
            window.note_shard(at(0), shard, 10);
            window.note_key(shard, hash_key, &key.as_str().into(), 10);
        }
        let hot = window.hot_shards(at(60_000));
        let top = &hot[0].top_keys[0];
        assert_eq!((hot.len(), top.key.as_str()), (1, "heavy"));
        assert!((0.15..0.25).contains(&top.of_stream), "{top:?}");
    }
}
