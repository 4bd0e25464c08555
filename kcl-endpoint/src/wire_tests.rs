use proptest::prelude::*;

use super::*;

#[derive(Debug, Serialize, Deserialize)]
struct At {
    at: Time,
}

#[test]
fn json_has_base64_and_seconds() {
    let bytes = Format::Json.write(&At { at: Time(1_700_000_000_123) }).unwrap();
    assert_eq!(&bytes[..], br#"{"at":1700000000.123}"#);
    assert_eq!(Format::Json.read::<At>(&bytes).unwrap().at, Time(1_700_000_000_123));
    let mut room = b"before".to_vec();
    let blob: Blob<'_> = Format::Json.read(br#""AP8=""#).unwrap();
    let decoded = blob.decode(&mut room).unwrap();
    assert_eq!(decoded.in_room(&room), b"\x00\xff");
    let escaped: Blob<'_> = Format::Json.read(br#""\u0041P8=""#).unwrap();
    assert!(matches!(escaped, Blob::Base64(Cow::Owned(text)) if text == "AP8="));
}

#[test]
fn cbor_has_bytes_and_tagged_milliseconds() {
    let bytes = Format::Cbor.write(&At { at: Time(1_700_000_000_123) }).unwrap();
    let tagged = [&[0xc1, 0x1b][..], &1_700_000_000_123u64.to_be_bytes()].concat();
    assert!(bytes.windows(tagged.len()).any(|window| window == tagged), "{bytes:02x?}");
    assert_eq!(Format::Cbor.read::<At>(&bytes).unwrap().at, Time(1_700_000_000_123));
    // Some clients write a float, and some no tag.
    for untagged in
        [&b"\xa1\x62at\xfb\x41\xd9\x54\xfc\x40\0\0\0"[..], b"\xa1\x62at\x1a\x65\x53\xf1\0"]
    {
        assert_eq!(Format::Cbor.read::<At>(untagged).unwrap().at, Time(1_700_000_000));
    }
    assert!(matches!(Format::Cbor.read(b"\x42\x00\xff").unwrap(), Blob::Bytes(Cow::Borrowed(_))));
}

#[test]
fn nesting_is_bounded_in_both() {
    let json = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(Format::Json.check_depth(&json(DEPTH)).is_ok());
    assert!(Format::Json.check_depth(&json(DEPTH + 1)).is_err());
    let text = format!("{{\"a\": \"{}\\\"{}\"}}", "[".repeat(99), "{".repeat(99));
    assert!(Format::Json.check_depth(text.as_bytes()).is_ok());
    let cbor = [vec![0x81; 1 << 20], vec![0x00]].concat();
    assert!(Format::Cbor.read::<serde::de::IgnoredAny>(&cbor).is_err());
}

#[test]
fn garbage_is_refused_in_both() {
    for format in [Format::Json, Format::Cbor] {
        for garbage in [&b"{"[..], b"\xff\xff", b"[1,2", b"\x9f\x9f\x9f"] {
            let error = format.read::<At>(garbage).unwrap_err();
            assert_eq!(error.name, "SerializationException");
        }
    }
}

proptest! {
    #[test]
    fn depth_is_counted_as_byte_by_byte(text in r#"["\\\[\]{}a ]{0,200}"#) {
        let mut nesting = Nesting::default();
        text.bytes().for_each(|byte| nesting.pass(byte));
        let counted = Format::Json.check_depth(text.as_bytes()).is_err();
        prop_assert_eq!(counted, nesting.deepest > DEPTH);
    }

    #[test]
    fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for format in [Format::Json, Format::Cbor] {
            if let Err(error) = format.tree(&body) {
                prop_assert_eq!(error.name, "SerializationException");
            }
        }
    }

    #[test]
    fn any_json_is_read_as_a_tree(text in r#"[\[\]{}":,0-9a-z.+\- ]{0,60}"#) {
        let ours = Format::Json.tree(text.as_bytes()).is_ok();
        let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        prop_assert_eq!(ours, theirs || text.is_empty());
    }
}
