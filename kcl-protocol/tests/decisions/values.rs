//! Names, numbers and times as people read them.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_protocol::{
    Checkpoint, EntryId, Fence, HashKeyRange, LeaseKey, LeaseTiming, Ordinal, Position, Rules,
    SequenceNumber, ShardId, WorkerId,
};

use super::{TIMING, at, ms};

#[test]
fn names_print_as_they_are_and_are_found_by_their_text() {
    let shard = ShardId::from("shardId-000000000001".to_owned());
    assert_eq!(
        (shard.to_string(), shard.as_str()),
        (shard.as_str().to_owned(), "shardId-000000000001")
    );
    assert_eq!(format!("{shard:?}|{:>4}", WorkerId::from("w")), "\"shardId-000000000001\"|   w");
    let held: BTreeMap<LeaseKey, u32> = [(LeaseKey::from("a"), 1)].into();
    assert_eq!(held.get("a"), Some(&1));
}

#[test]
fn a_worker_id_is_its_name_and_the_bits_drawn_for_it() {
    let drawn = |bits| WorkerId::drawn("host", bits, Rules::ALL);
    assert_eq!(drawn(0xab).as_str(), "host-000000000000000000000000000000ab");
    assert_ne!(drawn(1), drawn(2));
}

#[test]
fn with_several_streams_a_lease_key_names_stream_and_shard() {
    let shard = ShardId::from("shardId-1");
    let key = LeaseKey::in_stream("123:orders:17", &shard);
    assert_eq!(key.as_str(), "123:orders:17:shardId-1");
    assert_eq!((key.shard(), key.stream_prefix()), (shard.clone(), Some("123:orders:17")));
    let sibling = key.sibling(&ShardId::from("shardId-2"));
    assert_eq!(sibling.as_str(), "123:orders:17:shardId-2");
    let alone = LeaseKey::new("shardId-1");
    assert_eq!((alone.shard(), alone.stream_prefix()), (shard, None));
    assert_eq!(alone.sibling(&ShardId::from("shardId-2")), LeaseKey::from("shardId-2"));
}

#[test]
fn fences_ordinals_and_entries_count_and_print() {
    assert_eq!((Fence(7).next(0), Fence(7).to_string()), (Fence(8), "7".to_owned()));
    assert_eq!(Fence(7).next(1), Fence(Fence::PER_GENERATION));
    assert_eq!(Fence(Fence::PER_GENERATION).next(1), Fence(Fence::PER_GENERATION + 1));
    assert_eq!(Ordinal(7).next(), Ordinal(8));
    assert_eq!(EntryId(0x1f).to_string(), "0000000000000000000000000000001f");
}

#[test]
fn places_in_a_shard_print_and_are_ordered_by_progress() {
    let sequence = SequenceNumber::from_parts(0, 7);
    assert_eq!(format!("{sequence} {sequence:?}"), "7 7");
    let inside = Position { sequence, subsequence: 2 };
    assert_eq!(
        (Position::from(sequence).to_string(), inside.to_string()),
        ("7".into(), "7/2".into())
    );
    let all = [
        (Checkpoint::AtTimestamp(9), "AT_TIMESTAMP(9)"),
        (Checkpoint::TrimHorizon, "TRIM_HORIZON"),
        (Checkpoint::Latest, "LATEST"),
        (at(7), "7"),
        (Checkpoint::At(inside), "7/2"),
        (Checkpoint::ShardEnd, "SHARD_END"),
    ];
    assert!(all.is_sorted_by(|(a, _), (b, _)| a < b));
    for (checkpoint, text) in all {
        assert_eq!(checkpoint.to_string(), text);
        assert_eq!(checkpoint.is_shard_end(), checkpoint == Checkpoint::ShardEnd);
    }
    let bad = "12x".parse::<SequenceNumber>().unwrap_err();
    assert!(bad.to_string().starts_with("\"12x\" is not a sequence number"), "{bad}");
}

#[test]
fn a_range_holds_its_ends_and_shares_keys_only_where_it_meets_another() {
    let range = |start, end| HashKeyRange::new(start, end).unwrap();
    assert_eq!(HashKeyRange::new(5, 4), None);
    assert_eq!(range(4, 4).to_string(), "4..=4");
    let middle = range(4, 8);
    let held: Vec<u128> = (0..12).filter(|key| middle.contains(*key)).collect();
    assert_eq!(held, [4, 5, 6, 7, 8]);
    for (other, shared) in [(range(0, 3), false), (range(0, 4), true), (range(8, 9), true)] {
        assert_eq!((middle.overlaps(&other), other.overlaps(&middle)), (shared, shared));
    }
    assert!(!middle.overlaps(&range(9, 9)) && middle.is_followed_by(&range(9, 9)));
    assert!(!middle.is_followed_by(&range(10, 11)) && !HashKeyRange::FULL.is_followed_by(&middle));
    assert_eq!(HashKeyRange::split_evenly(0), []);
    let half = 1u128 << 127;
    let [lower, upper] =
        [(0, half - 1), (half, u128::MAX)].map(|(start, end)| HashKeyRange { start, end });
    assert_eq!(HashKeyRange::split_evenly(2), [lower, upper], "as the service cuts it");
    assert_eq!(HashKeyRange::split_evenly(3)[1].start, u128::MAX / 3);
}

#[test]
fn times_follow_from_the_lease_duration_and_never_wrap() {
    assert_eq!(TIMING.heartbeat(), Duration::from_secs(1));
    assert_eq!((TIMING.own(), TIMING.take()), (ms(2977).0, ms(3003).0));
    let tiny = LeaseTiming::new(Duration::from_millis(10), Duration::ZERO);
    assert_eq!(tiny.own(), Duration::ZERO, "shorter than the slack");
    assert_eq!(
        (ms(5).since(ms(3)), ms(3).since(ms(5))),
        (Duration::from_millis(2), Duration::ZERO)
    );
    assert_eq!((ms(3).max(ms(5)), ms(5).max(ms(3))), (ms(5), ms(5)));
    assert_eq!((ms(1).as_nanos(), kcl_protocol::Moment::from_nanos(1_000_000)), (1_000_000, ms(1)));
    assert_eq!(kcl_protocol::Moment(Duration::MAX).as_nanos(), u64::MAX);
    assert_eq!((ms(1) + Duration::MAX).0, Duration::MAX);
}
