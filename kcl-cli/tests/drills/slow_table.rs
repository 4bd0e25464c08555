//! A table that is slow by itself: what is measured on it says nothing, and does not count.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use kcl_testkit::DynamoDbLocal;

use crate::play_to;
use crate::short::number;

/// More than half of a heartbeat in the default profile, which is a second.
const SLOW: Duration = Duration::from_millis(600);

/// A way to a server on which every answer takes so much longer.
fn slow_way_to(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(upstream) = TcpStream::connect(&server) else { continue };
            let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            thread::spawn(move || pass(from, to, Duration::ZERO));
            thread::spawn(move || pass(upstream, client, SLOW));
        }
    });
    url
}

fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let mut bytes = [0; 64 << 10];
    loop {
        let read = match from.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        thread::sleep(delay);
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    // Either side may be gone already.
    let _: io::Result<()> = to.shutdown(Shutdown::Write);
}

#[test]
fn a_round_on_a_slow_table_is_invalid_and_nothing_is_measured() {
    let dynamodb = DynamoDbLocal::start().unwrap();
    let server = dynamodb.endpoint().trim_start_matches("http://").to_owned();
    let url = slow_way_to(server);
    let words = ["kill", "--rounds", "1", "--profile", "default", "--dynamodb", &url];
    let report = play_to(&words, &[3]);
    assert_eq!((number(&report, "rounds"), number(&report, "invalid_rounds")), (1.0, 1.0));
    assert_eq!((number(&report, "failover_ms.n"), number(&report, "pause_ms.n")), (0.0, 0.0));
    let why = report["invalid_because"][0].as_str().unwrap();
    assert!(why.contains("the table's own p99"), "{why}");
    assert!(number(&report, "takes") > 0.0 && number(&report, "lost") == 0.0, "{report:#}");
}
