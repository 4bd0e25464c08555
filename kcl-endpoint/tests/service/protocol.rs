//! What every request and answer has in common.

use serde_json::json;

use crate::world::World;

const JSON: &str = "application/x-amz-json-1.1";
const CBOR: &str = "application/x-amz-cbor-1.1";

#[tokio::test]
async fn an_endpoint_is_there_in_three_lines() {
    use kcl_endpoint::{Endpoint, EndpointConfig};

    let endpoint = Endpoint::start(EndpointConfig::default()).await.unwrap();
    let url = endpoint.url();
    assert!(url.starts_with("http://127.0.0.1:") && !url.ends_with(":0"));
}

#[tokio::test]
async fn every_answer_has_ids_and_a_date_of_its_own() {
    let world = World::new().await;
    let mut ids = std::collections::BTreeSet::new();
    for operation in ["ListStreams", "ListStreams", "Nothing"] {
        let answer = world.call(operation, json!({})).await;
        let id = answer.header("x-amzn-requestid").unwrap();
        assert!(id.len() == 36 && ids.insert(id.to_owned()), "{id}");
        assert!(answer.header("x-amz-id-2").is_some());
        assert!(answer.header("date").unwrap().ends_with("GMT"));
    }
}

#[tokio::test]
async fn an_answer_is_in_the_encoding_of_its_request() {
    let world = World::new().await;
    let answer = world.raw("ListStreams", JSON, b"{}").await;
    assert_eq!(answer.header("content-type"), Some(JSON));
    let answer = world.raw("ListStreams", CBOR, b"\xa0").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(CBOR)));
    let told: ciborium::Value = ciborium::from_reader(&answer.body[..]).unwrap();
    assert!(told.is_map());
    let answer = world.raw("DescribeStream", CBOR, b"\xa1\x6aStreamName\x61x").await;
    let told: ciborium::Value = ciborium::from_reader(&answer.body[..]).unwrap();
    let name = |it: &(ciborium::Value, ciborium::Value)| it.0.as_text() == Some("__type");
    let kind = told.as_map().unwrap().iter().find(|it| name(it)).unwrap();
    assert_eq!(kind.1.as_text(), Some("ResourceNotFoundException"));
}

#[tokio::test]
async fn an_operation_without_members_answers_without_a_body() {
    let world = World::new().await;
    let answer = world.call("CreateStream", json!({"StreamName": "s", "ShardCount": 1})).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
}

#[tokio::test]
async fn times_are_seconds_in_json_and_tagged_milliseconds_in_cbor() {
    let world = World::new().await;
    world.stream("s", 1).await;
    let seconds = world.summary("s").await["StreamCreationTimestamp"].as_f64().unwrap();
    let answer = world.raw("DescribeStreamSummary", CBOR, b"\xa1\x6aStreamName\x61s").await;
    let millis = (seconds * 1000.0) as u64;
    let tagged = [&[0xc1, 0x1b][..], &millis.to_be_bytes()].concat();
    assert!(answer.body.windows(tagged.len()).any(|window| window == tagged));
}

#[tokio::test]
async fn what_is_no_operation_is_unknown() {
    let world = World::new().await;
    for operation in ["Nothing", "", "putrecord", "CreateQueue", "ListChannels"] {
        world.refused(operation, json!({}), "UnknownOperationException").await;
    }
    for request in [
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /other HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: DynamoDB_20120810.ListTables\r\n\
         content-type: application/x-amz-json-1.1\r\ncontent-length: 2\r\n\r\n{}",
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.ListStreams\r\n\
         content-type: text/plain\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        let answer = world.send(request.as_bytes()).await;
        assert!((400..500).contains(&answer.status), "{request}: {}", answer.status);
        assert_eq!(answer.json()["__type"], "UnknownOperationException", "{request}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_a_serialization_error() {
    let world = World::new().await;
    for bad in [&b"{"[..], b"[]", b"5", b"{\"StreamName\": 5}", b"\xff", b"{} x"] {
        let answer = world.raw("DescribeStream", JSON, bad).await;
        assert_eq!(answer.json()["__type"], "SerializationException", "{bad:?}");
        assert_eq!(answer.status, 400);
    }
    for bad in [&b"\xff"[..], b"\xa1", b"\x80", b"\xa1\x6aStreamName\x05", b"\xa0\xa0"] {
        let answer = world.raw("DescribeStream", CBOR, bad).await;
        let told: ciborium::Value = ciborium::from_reader(&answer.body[..]).unwrap();
        assert!(format!("{told:?}").contains("SerializationException"), "{bad:?}");
    }
}

#[tokio::test]
async fn a_member_that_nobody_knows_is_passed_over() {
    let world = World::new().await;
    world.ok("ListStreams", json!({"Unknown": [{"a": 1}]})).await;
}

#[tokio::test]
async fn nesting_beyond_reason_is_refused() {
    let world = World::new().await;
    let deep = format!("{{\"x\": {}{}}}", "[".repeat(40), "]".repeat(40));
    for operation in ["ListStreams", "PutRecords"] {
        let answer = world.raw(operation, JSON, deep.as_bytes()).await;
        assert_eq!(answer.json()["__type"], "SerializationException");
    }
}

#[tokio::test]
async fn any_host_is_served_and_a_web_page_is_not() {
    let world = World::new().await;
    let with = |more: &str| {
        format!(
            "POST / HTTP/1.1\r\n{more}x-amz-target: Kinesis_20131202.ListStreams\r\n\
             content-type: {JSON}\r\ncontent-length: 2\r\n\r\n{{}}"
        )
    };
    for host in ["host: 111122223333.control-kinesis.us-east-1.amazonaws.com\r\n", "host: x:1\r\n"]
    {
        assert_eq!(world.send(with(host).as_bytes()).await.status, 200);
    }
    for page in
        ["host: x\r\norigin: http://evil.example\r\n", "host: x\r\nsec-fetch-site: none\r\n"]
    {
        let answer = world.send(with(page).as_bytes()).await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.json()["__type"], "AccessDeniedException");
        assert!(!answer.head.to_lowercase().contains("access-control"), "no CORS");
    }
}

#[tokio::test]
async fn a_request_has_sixteen_mebibytes_at_most() {
    let world = World::new().await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.PutRecords\r\n\
         content-type: {JSON}\r\ncontent-length: {}\r\n\r\n",
        (16 << 20) + 1
    );
    // Refused by what it announces: nothing of it is waited for.
    assert_eq!(world.send(head.as_bytes()).await.status, 413);
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let world = World::new().await;
    let long = format!("POST / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(64 << 10));
    let answer = world.send(long.as_bytes()).await;
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn a_list_of_values_is_no_request() {
    let world = World::new().await;
    world.stream("s", 1).await;
    let json = br#"["s", null, "eA==", "k"]"#;
    let cbor = b"\x84\x61s\xf6\x41x\x61k";
    for (content_type, body) in [(JSON, &json[..]), (CBOR, &cbor[..])] {
        let answer = world.raw("PutRecord", content_type, body).await;
        assert_eq!(answer.status, 400, "{content_type}");
        assert_eq!(answer.header("x-amzn-errortype"), Some("SerializationException"));
    }
    assert!(world.keys(&world.whole_of("s").await).await.is_empty());
}

#[tokio::test]
async fn many_values_in_one_request_are_refused_in_few_bytes() {
    const MANY: usize = 2 << 20;
    let world = World::new().await;
    world.stream("s", 1).await;
    let list = |member: &str, item: &str, count: usize| {
        let items = vec![item; count].join(",");
        format!(r#"{{"StreamName":"s","{member}":[{items}]}}"#)
    };
    let (serialization, validation) = ("SerializationException", "ValidationException");
    for (operation, body, error) in [
        ("EnableEnhancedMonitoring", list("ShardLevelMetrics", r#""""#, MANY), serialization),
        ("EnableEnhancedMonitoring", list("ShardLevelMetrics", r#""""#, 9000), validation),
        ("RemoveTagsFromStream", list("TagKeys", r#""""#, 9000), validation),
        ("PutRecords", list("Records", "{}", MANY), validation),
        // Members that nobody knows are passed over, and take no memory.
        ("DescribeStream", list("Unknown", "[0]", MANY), serialization),
        ("PutRecord", format!(r#"{{"DryRun":"{}"}}"#, "x".repeat(MANY)), serialization),
    ] {
        let answer = world.raw(operation, JSON, body.as_bytes()).await;
        let told = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]);
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (400, Some(error)),
            "{told}"
        );
        assert!(answer.body.len() < 64 << 10, "{} bytes: {told}", answer.body.len());
    }
    let head = &b"\xa2\x6aStreamName\x61s\x67Records\x9b"[..];
    let records = [head, &(MANY as u64).to_be_bytes(), &vec![0xa0; MANY]].concat();
    let answer = world.raw("PutRecords", CBOR, &records).await;
    assert_eq!(answer.header("x-amzn-errortype"), Some(validation));
}
