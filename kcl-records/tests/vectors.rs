//! Aggregates of other encoders, and ours beside them.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kcl_records::aggregate::{Decoded, SubRecord, decode};
use kcl_records::{AggregateBuilder, hash_key};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Every case: its name, and what is inside.
fn cases() -> Vec<(String, Vec<SubRecord>)> {
    let text = std::fs::read_to_string(fixture("cases.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_str(&text).unwrap();
    let record = |record: &serde_json::Value| SubRecord {
        partition_key: record["key"].as_str().unwrap().into(),
        explicit_hash_key: record["hash_key"].as_str().map(|text| text.parse().unwrap()),
        data: STANDARD.decode(record["data"].as_str().unwrap()).unwrap().into(),
    };
    let case = |case: &serde_json::Value| {
        let records = case["records"].as_array().unwrap().iter().map(record).collect();
        (case["name"].as_str().unwrap().to_owned(), records)
    };
    cases.as_array().unwrap().iter().map(case).collect()
}

fn ours(records: &[SubRecord]) -> Bytes {
    let mut builder = AggregateBuilder::new();
    for record in records {
        builder.push(&record.partition_key, record.explicit_hash_key, &record.data);
    }
    builder.finish()
}

#[test]
fn aggregates_of_other_encoders_are_taken_apart() {
    let mut seen = 0;
    for (name, records) in cases() {
        for encoder in ["pypi", "npm"] {
            let bytes = std::fs::read(fixture(&format!("{name}.{encoder}.bin"))).unwrap();
            assert_eq!(
                decode(&bytes.into()),
                Decoded::Records(records.clone()),
                "{name} {encoder}"
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 8);
}

#[test]
fn what_is_built_here_is_byte_for_byte_what_the_encoder_from_pypi_writes() {
    for (name, records) in cases() {
        let theirs = std::fs::read(fixture(&format!("{name}.pypi.bin"))).unwrap();
        assert_eq!(ours(&records), theirs, "{name}");
    }
}

#[test]
fn a_record_without_a_hash_key_of_its_own_belongs_where_the_md5_of_its_key_says() {
    // MD5("a") = 0cc175b9c0f1b6a831c399e269772661
    assert_eq!(hash_key("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    let (_, records) = cases().swap_remove(0);
    assert_eq!(records[0].hash_key(), hash_key("a"));
}
