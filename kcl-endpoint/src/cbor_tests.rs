use ciborium::Value;
use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;
use crate::validate::Tree;

#[test]
fn lengths_may_be_indefinite() {
    // {_ "a": [_ 1, -2], "b": (_ "x", "y"), "c": (_ h'01', h'02')}
    let bytes =
        b"\xbf\x61a\x9f\x01\x21\xff\x61b\x7f\x61x\x61y\xff\x61c\x5f\x41\x01\x41\x02\xff\xff";
    let read: Tree = read(bytes).unwrap();
    let list = Tree::List(vec![Tree::Whole(1), Tree::Whole(-2)]);
    let members = [("a", list), ("b", Tree::Text("xy".into())), ("c", Tree::Bytes(2))];
    assert_eq!(read, Tree::Map(members.map(|(name, value)| (name.to_owned(), value)).into()));
}

#[test]
fn texts_and_bytes_are_not_copied() {
    assert_eq!(read::<&str>(b"\x62hi").unwrap(), "hi");
    assert_eq!(read::<&[u8]>(b"\x42hi").unwrap(), b"hi");
}

#[test]
fn what_is_no_cbor_is_refused() {
    let deep = [vec![0x81; DEPTH + 1], vec![0x00]].concat();
    for bad in [
        &b""[..],
        b"\xff",
        b"\x1c",
        b"\x62h",
        b"\x62\xff\xff",
        b"\x82\x01",
        b"\x9f\x01",
        b"\x7f\x41x\xff",
        b"\x01\x02",
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xf8\x20",
        b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
        &deep,
    ] {
        assert!(read::<Tree>(bad).is_err(), "{bad:02x?}");
    }
    let deep = [vec![0xc1; 1 << 20], vec![0x00]].concat();
    assert!(read::<IgnoredAny>(&deep).is_err());
}

#[test]
fn halves_are_read() {
    for (bits, is) in [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2f64.powi(-24))] {
        assert_eq!(half(bits), is);
    }
    assert!(half(0x7e00).is_nan() && half(0x7c00).is_infinite());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::Float),
        ".{0,12}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        any::<u32>().prop_map(|time| Value::Tag(1, Box::new(time.into()))),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let members = prop::collection::vec((".{0,9}".prop_map(Value::Text), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::Array),
            members.prop_map(Value::Map),
        ]
    })
}

fn expected(value: &Value) -> Tree {
    match value {
        Value::Bool(_) => Tree::Flag,
        Value::Integer(number) => Tree::Whole(i64::try_from(*number).unwrap()),
        Value::Float(_) => Tree::Number,
        Value::Text(text) => Tree::Text(text.clone()),
        Value::Bytes(bytes) => Tree::Bytes(bytes.len()),
        Value::Array(items) => Tree::List(items.iter().map(expected).collect()),
        Value::Map(members) => Tree::Map(
            members.iter().map(|(k, v)| (k.as_text().unwrap().to_owned(), expected(v))).collect(),
        ),
        Value::Tag(_, value) => expected(value),
        _ => Tree::Nothing,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn what_another_library_writes_is_read_as_it_was(value in value()) {
        let mut bytes = Vec::new();
        ciborium::into_writer(&value, &mut bytes).unwrap();
        prop_assert_eq!(read::<Tree>(&bytes).unwrap(), expected(&value));
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_what_is_read_another_library_reads_too(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if read::<IgnoredAny>(&bytes).is_ok() {
            prop_assert!(ciborium::from_reader::<Value, _>(&bytes[..]).is_ok());
        }
    }
}
