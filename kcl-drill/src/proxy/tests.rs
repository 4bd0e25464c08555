//! What each harm does on the wire: how often the table sees the request, and what the client gets.

use std::sync::atomic::AtomicU32;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A table that numbers its answers.
async fn table() -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let service = service_fn(move |_: Request<Incoming>| {
                    let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
                    let answer = Full::new(Bytes::from(format!("answer {number}")));
                    async move { Ok::<_, Closed>(Response::new(answer)) }
                });
                let builder = hyper::server::conn::http1::Builder::new();
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (url, seen)
}

/// What a client without retries gets: status and body; nothing if the connection was closed.
async fn ask(door: &Door) -> Option<(u16, String)> {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(door.url()).header("x-amz-target", "DynamoDB_20120810.UpdateItem");
    let request = request.body(Full::new(Bytes::from_static(b"{}"))).unwrap();
    let answer = tokio::time::timeout(PATIENCE, client.request(request)).await;
    let answer = answer.expect("neither answered nor closed").ok()?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    Some((status, String::from_utf8(body.to_vec()).unwrap()))
}

/// One request under a harm that strikes every one: what its client got, how often the table saw
/// it, and how many count as harmed.
async fn under(harm: &str) -> (Option<(u16, String)>, u32, u64) {
    let (url, seen) = table().await;
    let rules = if harm.is_empty() { vec![] } else { vec![Rule::parse(harm).unwrap()] };
    let proxy = Proxy::new(&url, rules);
    let answer = ask(&proxy.open("a").await.unwrap()).await;
    (answer, seen.load(Ordering::Relaxed), proxy.harmed())
}

fn answer(number: u32) -> Option<(u16, String)> {
    Some((200, format!("answer {number}")))
}

#[tokio::test]
async fn a_request_that_is_not_struck_passes_once() {
    assert_eq!(under("").await, (answer(1), 1, 0));
    assert_eq!(under("Scan:drop=100").await, (answer(1), 1, 0));
}

#[tokio::test]
async fn a_dropped_request_never_comes_and_a_dropped_reply_is_of_one_that_came() {
    assert_eq!(under("drop=100").await, (None, 0, 1));
    assert_eq!(under("UpdateItem:drop-reply=100").await, (None, 1, 1));
}

#[tokio::test]
async fn a_doubled_request_comes_twice_and_the_second_answer_is_given() {
    assert_eq!(under("duplicate=100").await, (answer(2), 2, 1));
}

#[tokio::test]
async fn a_throttled_and_a_broken_request_are_refused_in_the_services_words() {
    let (answer, seen, harmed) = under("throttle=100").await;
    let (status, body) = answer.unwrap();
    assert_eq!((status, seen, harmed), (400, 0, 1));
    assert!(body.contains("ProvisionedThroughputExceededException"), "{body}");
    let (answer, seen, harmed) = under("error=100").await;
    let (status, body) = answer.unwrap();
    assert_eq!((status, seen, harmed), (500, 0, 1));
    assert!(body.contains("InternalServerError"), "{body}");
}

#[tokio::test]
async fn a_delayed_request_comes_late_and_is_answered() {
    let started = SystemClock.monotonic();
    assert_eq!(under("delay=100@200").await, (answer(1), 1, 1));
    assert!(SystemClock.monotonic().since(started) >= Duration::from_millis(200));
}

#[tokio::test]
async fn nothing_comes_through_in_an_outage_and_everything_after_it() {
    let (url, seen) = table().await;
    let proxy = Proxy::new(&url, vec![]);
    let door = proxy.open("a").await.unwrap();
    proxy.set_harm(Harm { is_outage: true, ..Harm::default() });
    assert_eq!((ask(&door).await, seen.load(Ordering::Relaxed)), (None, 0));
    proxy.set_harm(Harm::default());
    assert_eq!((ask(&door).await, proxy.harmed()), (answer(1), 1));
}

#[tokio::test]
async fn behind_a_shut_door_nothing_is_heard_and_other_doors_stay_open() {
    let (url, seen) = table().await;
    let proxy = Proxy::new(&url, vec![]);
    let (shut, open) = (proxy.open("a").await.unwrap(), proxy.open("b").await.unwrap());
    shut.set_shut(true);
    let behind = shut.clone();
    let waiting = tokio::spawn(async move { ask(&behind).await });
    let swallowed = async {
        while proxy.harmed() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, swallowed).await.expect("the request has come");
    assert_eq!(ask(&open).await, answer(1));
    assert!(!waiting.is_finished(), "it must hear nothing while the door is shut");
    shut.set_shut(false);
    assert_eq!(waiting.await.unwrap(), None, "the request is lost for good");
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    assert_eq!(ask(&shut).await, answer(2));
}
