//! Naming hot shards, with the key to blame and the remedy.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_stream_local::limits::{SHARD_IN_BYTES, SHARD_IN_RECORDS};

use super::feed::Loads;

/// A shard above this share of a limit is hot.
const SHARE_OF_LIMIT: f64 = 0.8;
/// A key above this share of the stream is to blame for its shard,
const SHARE_OF_KEY: f64 = 0.1;
/// if that carries more than so many times the mean.
const TIMES_THE_MEAN: f64 = 1.15;

/// Looks at what went into the shards in some time; a sentence for each that is hot. `open` shards
/// took records, those that got none among them.
pub fn hot_shards(loads: &Loads, open: usize, time: Duration) -> Vec<String> {
    let seconds = time.as_secs_f64();
    let total: u64 = loads.by_shard.values().flat_map(BTreeMap::values).map(|load| load.1).sum();
    if total == 0 || seconds <= 0.0 {
        return Vec::new();
    }
    let mean = total as f64 / open.max(loads.by_shard.len()) as f64;
    let mut sentences = Vec::new();
    for (shard, keys) in &loads.by_shard {
        let bytes: u64 = keys.values().map(|load| load.0).sum();
        let records: u64 = keys.values().map(|load| load.1).sum();
        let of_records = records as f64 / seconds / SHARD_IN_RECORDS as f64;
        let of_bytes = bytes as f64 / seconds / SHARD_IN_BYTES as f64;
        let share = of_records.max(of_bytes);
        let Some((key, top)) = keys.iter().max_by_key(|(_, load)| load.1) else { continue };
        let of_stream = top.1 as f64 / total as f64;
        let of_shard = top.1 as f64 / records as f64;
        let is_key_hot = of_stream > SHARE_OF_KEY && records as f64 > mean * TIMES_THE_MEAN;
        if share > SHARE_OF_LIMIT || is_key_hot {
            let load = format!(
                "{shard} is hot: at {:.0}% of its limit, {:.1} times the mean",
                share * 100.0,
                records as f64 / mean
            );
            sentences.push(format!("{load}; {}", blame(key, of_stream * 100.0, of_shard * 100.0)));
        }
    }
    sentences
}

/// Who is to blame, and the remedy; shares in percent.
fn blame(key: &str, of_stream: f64, of_shard: f64) -> String {
    let blamed = format!("{of_stream:.0}% of the stream and {of_shard:.0}% of the shard");
    if of_shard > 50.0 {
        format!("key {key:?} is {blamed}; a split would not help: choose a key with more values")
    } else if of_stream > SHARE_OF_KEY * 100.0 {
        format!("key {key:?} is {blamed}; split the shard, or choose a key with more values")
    } else {
        format!("no single key is to blame (the top one, {key:?}, is {blamed}); split the shard")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcl_core::protocol::ShardId;

    fn loads(shards: &[&[(&str, u64)]]) -> Loads {
        let keys = |keys: &&[(&str, u64)]| {
            keys.iter()
                .map(|(key, records)| ((*key).to_owned(), (records * 50, *records)))
                .collect()
        };
        let shard = |number| ShardId::from(format!("shardId-{number:012}"));
        Loads { by_shard: shards.iter().enumerate().map(|(n, of)| (shard(n), keys(of))).collect() }
    }

    #[test]
    fn a_shard_above_four_fifths_of_a_limit_is_named() {
        let even = loads(&[&[("a", 40), ("b", 41), ("c", 39)], &[("d", 40), ("e", 40), ("f", 41)]]);
        assert_eq!(hot_shards(&even, 2, Duration::from_secs(1)).len(), 0);
        let named = hot_shards(&even, 2, Duration::from_millis(140));
        assert!(
            named[0].starts_with("shardId-000000000000 is hot: at 86% of its limit"),
            "{named:?}"
        );
    }

    #[test]
    fn a_key_that_makes_its_shard_heavier_than_the_mean_is_blamed() {
        let skewed = loads(&[&[("UA", 90), ("AA", 10)], &[("B6", 20), ("DL", 20)]]);
        let named = hot_shards(&skewed, 2, Duration::from_secs(10));
        assert_eq!(named.len(), 1);
        assert!(named[0].contains("key \"UA\" is 64% of the stream"), "{named:?}");
        assert!(named[0].contains("a split would not help"), "{named:?}");
    }

    #[test]
    fn shards_without_records_count_in_the_mean() {
        let one = loads(&[&[("UA", 90), ("AA", 10)]]);
        assert_eq!(hot_shards(&one, 1, Duration::from_secs(10)).len(), 0, "it is the mean");
        assert_eq!(hot_shards(&one, 4, Duration::from_secs(10)).len(), 1);
    }
}
