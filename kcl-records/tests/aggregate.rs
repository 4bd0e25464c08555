//! Properties of aggregates, and input that lies.

use bytes::{BufMut, Bytes, BytesMut};
use kcl_core::PartitionKey;
use kcl_records::AggregateBuilder;
use kcl_records::aggregate::{BrokenAggregate, Decoded, MAGIC, SubRecord, decode};
use kcl_records::limits::SUB_RECORDS;
use md5::{Digest, Md5};
use proptest::prelude::*;

/// An aggregate with a right checksum around any message.
fn around(message: &[u8]) -> Bytes {
    let mut whole = BytesMut::from(&MAGIC[..]);
    whole.put_slice(message);
    whole.put_slice(&Md5::digest(message));
    whole.freeze()
}

fn build(records: &[SubRecord]) -> Bytes {
    let mut builder = AggregateBuilder::new();
    for record in records {
        let SubRecord { partition_key, explicit_hash_key, data } = record;
        let expected = builder.len_with(partition_key, *explicit_hash_key, data.len());
        builder.push(partition_key, *explicit_hash_key, data);
        assert_eq!(builder.encoded_len(), expected);
    }
    assert_eq!(builder.count(), records.len());
    let expected = builder.encoded_len();
    let whole = builder.finish();
    assert_eq!(whole.len(), expected);
    assert_eq!((builder.is_empty(), builder.encoded_len()), (true, 20));
    whole
}

fn hash_keys() -> impl Strategy<Value = Option<u128>> {
    prop_oneof![
        Just(None),
        Just(Some(0)),
        Just(Some(u128::MAX)),
        (0u32..39).prop_map(|power| Some(10u128.pow(power))),
        any::<u128>().prop_map(Some),
    ]
}

fn records() -> impl Strategy<Value = Vec<SubRecord>> {
    let key = prop_oneof![
        (0u8..4).prop_map(|key| format!("k{key}")),
        (0u16..500).prop_map(|key| key.to_string()),
        "\\PC{1,256}",
    ];
    let record = (key, hash_keys(), prop::collection::vec(any::<u8>(), 0..300));
    prop::collection::vec(record, 0..200).prop_map(|records| {
        let record = |(key, explicit_hash_key, data)| SubRecord {
            partition_key: PartitionKey::from(String::clone(&key)),
            explicit_hash_key,
            data: Vec::into(data),
        };
        records.into_iter().map(record).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_put_together_comes_apart_the_same_and_its_size_was_known_at_every_step(
        records in records(),
    ) {
        let whole = build(&records);
        prop_assert_eq!(decode(&whole), Decoded::Records(records));
    }

    #[test]
    fn a_cut_or_changed_aggregate_gives_no_record(
        records in records(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let whole = build(&records);
        let at = at.index(whole.len());
        let cut = decode(&whole.slice(..at));
        prop_assert!(!matches!(cut, Decoded::Records(_)), "cut at {}: {:?}", at, cut);
        let mut changed = whole.to_vec();
        changed[at] ^= 1 << bit;
        match decode(&changed.into()) {
            Decoded::Plain => prop_assert!(at < MAGIC.len()),
            Decoded::Broken(broken) => prop_assert_eq!(broken, BrokenAggregate::Checksum),
            Decoded::Records(_) => prop_assert!(false, "bit {} of byte {} is not noticed", bit, at),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(&Bytes::from([&MAGIC[..], &bytes].concat()));
        decode(&around(&bytes));
        decode(&bytes.into());
    }

    #[test]
    fn no_message_of_nearly_the_right_form_makes_it_panic(
        records in records(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let whole = build(&records);
        let mut message = whole[4..whole.len() - 16].to_vec();
        for (at, byte) in changes {
            if !message.is_empty() {
                let at = at.index(message.len());
                message[at] = byte;
            }
        }
        if let Decoded::Records(records) = decode(&around(&message)) {
            prop_assert!(records.iter().all(|record| record.data.len() <= message.len()));
        }
    }
}

#[test]
fn every_bit_of_a_small_aggregate_counts() {
    let mut builder = AggregateBuilder::new();
    builder.push(&"a".into(), Some(7), b"x");
    builder.push(&"b".into(), None, b"y");
    let whole = builder.finish();
    for at in 0..whole.len() {
        assert!(!matches!(decode(&whole.slice(..at)), Decoded::Records(_)), "cut at {at}");
        for bit in 0..8 {
            let mut changed = whole.to_vec();
            changed[at] ^= 1 << bit;
            assert!(!matches!(decode(&changed.into()), Decoded::Records(_)), "{bit} of {at}");
        }
    }
}

#[test]
fn data_that_does_not_begin_like_an_aggregate_is_plain() {
    for plain in [&b""[..], b"two apples", &MAGIC[..3], b"\xf3\x89\x9a\xc3 and more"] {
        assert_eq!(decode(&Bytes::copy_from_slice(plain)), Decoded::Plain, "{plain:?}");
    }
}

#[test]
fn an_aggregate_of_nothing_has_no_records() {
    assert_eq!(decode(&AggregateBuilder::new().finish()), Decoded::Records(Vec::new()));
}

/// An aggregate of one key, the text "5" as one hash key, and this as the one record.
fn of_entry(entry: &[u8]) -> Bytes {
    let mut message = vec![0x0a, 1, b'k', 0x12, 1, b'5', 0x1a, entry.len() as u8];
    message.extend(entry);
    around(&message)
}

#[test]
fn each_thing_that_can_be_wrong_is_told_by_its_name() {
    let index = 0;
    let malformed = |data: Bytes| match decode(&data) {
        Decoded::Broken(BrokenAggregate::Malformed(_)) => true,
        other => panic!("{other:?}"),
    };
    assert!(malformed(around(&[0x1a, 200])), "a length past the end");
    assert!(malformed(around(&[0x1b, 0x1c])), "a group");
    assert!(malformed(around(&[0x0a, 1, 0xff])), "a key that is no text");
    for (data, broken) in [
        (Bytes::from_static(&MAGIC), BrokenAggregate::TooShort(4)),
        (around(&[]).slice(..19), BrokenAggregate::TooShort(19)),
        (of_entry(&[0x1a, 0]), BrokenAggregate::Missing { index, field: "partition key index" }),
        (of_entry(&[0x08, 0]), BrokenAggregate::Missing { index, field: "data" }),
        (
            of_entry(&[0x08, 1, 0x1a, 0]),
            BrokenAggregate::NoSuchKey { index, table: "partition key", named: 1, length: 1 },
        ),
        (
            of_entry(&[0x08, 0, 0x10, 0x80, 1, 0x1a, 0]),
            BrokenAggregate::NoSuchKey { index, table: "explicit hash key", named: 128, length: 1 },
        ),
    ] {
        assert_eq!(decode(&data), Decoded::Broken(broken));
    }
    let whole = of_entry(&[0x08, 0, 0x10, 0, 0x1a, 1, b'x']);
    let Decoded::Records(records) = decode(&whole) else { panic!("it is whole") };
    assert_eq!((records[0].explicit_hash_key, &records[0].data[..]), (Some(5), &b"x"[..]));
}

#[test]
fn a_hash_key_is_a_number_below_2_to_the_128_and_nothing_else() {
    for text in ["", "+5", "-1", " 5", "0x5", "340282366920938463463374607431768211456"] {
        let mut message = vec![0x0a, 1, b'k', 0x12, text.len() as u8];
        message.extend(text.bytes());
        message.extend([0x1a, 6, 0x08, 0, 0x10, 0, 0x1a, 0]);
        let broken = Decoded::Broken(BrokenAggregate::HashKey { index: 0 });
        assert_eq!(decode(&around(&message)), broken, "{text:?}");
    }
}

#[test]
fn an_aggregate_of_more_records_than_any_honest_one_is_refused_before_it_takes_memory() {
    for field in [[0x1a, 0], [0x0a, 0], [0x12, 0]] {
        let message = field.repeat(SUB_RECORDS + 1);
        assert_eq!(decode(&around(&message)), Decoded::Broken(BrokenAggregate::TooMany));
    }
}

#[test]
fn tags_of_records_are_passed_over() {
    // A tag with the key "t".
    let entry = [0x08, 0, 0x1a, 1, b'x', 0x22, 3, 0x0a, 1, b't'];
    let Decoded::Records(records) = decode(&of_entry(&entry)) else { panic!("it is whole") };
    assert_eq!(&records[0].data[..], b"x");
}

#[test]
fn sub_records_share_the_bytes_they_came_in_and_equal_keys_their_text() {
    let mut builder = AggregateBuilder::new();
    builder.push(&"key".into(), None, b"one");
    builder.push(&"key".into(), None, b"two");
    let whole = builder.finish();
    let Decoded::Records(records) = decode(&whole) else { panic!("it is whole") };
    let range = whole.as_ptr_range();
    assert!(records.iter().all(|record| range.contains(&record.data.as_ptr())));
    let texts = [0, 1].map(|at: usize| records[at].partition_key.as_str().as_ptr());
    assert_eq!(texts[0], texts[1]);
}
