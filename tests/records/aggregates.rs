//! Aggregates of every size of key, hash key, data and table.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcl_core::PartitionKey;
use kcl_records::AggregateBuilder;
use serde_json::{Value, json};

/// One record: key, explicit hash key, data.
type Given = (String, Option<u128>, Vec<u8>);

pub fn print() {
    let keys = ["k", "Straße 🍎", &"long ".repeat(51)];
    let hash_keys = [0, 1, 9, 10, u128::from(u64::MAX), 1 << 127, u128::MAX];
    let sizes = [0, 1, 127, 128, 16_383, 16_384, 200_000];
    let every = |with_hash_key: bool| {
        let given = |(index, size): (usize, &usize)| {
            let hash_key = with_hash_key.then(|| hash_keys[index % hash_keys.len()]);
            (keys[index % keys.len()].to_owned(), hash_key, vec![index as u8; *size])
        };
        sizes.iter().enumerate().map(given).collect()
    };
    let number = |index: u32| (format!("k{index}"), Some(index.into()), index.to_be_bytes().into());
    let cases: [Vec<Given>; 4] =
        [every(false), every(true), vec![number(0)], (0..20_000).map(number).collect()];
    cases.iter().for_each(|case| println!("{}", line(case)));
}

fn line(case: &[Given]) -> Value {
    let mut builder = AggregateBuilder::new();
    let mut inside = Vec::new();
    for (key, hash_key, data) in case {
        builder.push(&PartitionKey::from(key.as_str()), *hash_key, data);
        let hash_key = hash_key.map(|hash_key| hash_key.to_string());
        inside.push(json!({"key": key, "hash_key": hash_key, "data": STANDARD.encode(data)}));
    }
    json!({"aggregate": STANDARD.encode(builder.finish()), "inside": inside})
}
