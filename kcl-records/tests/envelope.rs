//! Sealing and opening.
#![cfg(feature = "encryption")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kcl_core::{Clock, PartitionKey, TokioClock};
use kcl_records::envelope::{
    DataKey, KeyRing, KeyRingError, LocalKeyRing, NewKey, OpenError, Opener, Rotation, SealError,
    Sealer,
};
use kcl_records::limits::OPENED_DATA_KEYS;
use proptest::prelude::*;

/// Two keys; the first is the primary one.
const RING: &str = r#"
primary = "new"
[keys]
new = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
old = "//////////////////////////////////////////8="
"#;

fn ring() -> Arc<dyn KeyRing> {
    Arc::new(LocalKeyRing::from_text(RING).unwrap())
}

/// A clock that stands still, for tests that need none.
fn clock() -> Arc<dyn Clock> {
    static CLOCK: OnceLock<Arc<dyn Clock>> = OnceLock::new();
    Arc::clone(CLOCK.get_or_init(|| Arc::new(TokioClock::starting_at(0))))
}

fn key(text: &str) -> PartitionKey {
    text.into()
}

fn sealer(stream: &str) -> Sealer {
    Sealer::new(ring(), stream, clock())
}

fn opener(stream: &str) -> Opener {
    Opener::new(ring(), stream, clock())
}

/// A ring that counts, and can be away.
struct Counting {
    inner: Arc<dyn KeyRing>,
    generated: AtomicUsize,
    unwrapped: AtomicUsize,
    is_away: AtomicBool,
}

impl Counting {
    fn new() -> Arc<Self> {
        let (generated, unwrapped, is_away) = Default::default();
        Arc::new(Self { inner: ring(), generated, unwrapped, is_away })
    }
    fn counts(&self) -> (usize, usize) {
        (self.generated.load(Ordering::SeqCst), self.unwrapped.load(Ordering::SeqCst))
    }
    async fn answer(&self, count: &AtomicUsize) -> Result<(), KeyRingError> {
        count.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(KeyRingError::Unavailable("away".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl KeyRing for Counting {
    async fn generate(&self, stream: &str) -> Result<NewKey, KeyRingError> {
        self.answer(&self.generated).await?;
        self.inner.generate(stream).await
    }
    async fn unwrap(
        &self,
        key_id: &str,
        wrapped: &[u8],
        stream: &str,
    ) -> Result<DataKey, KeyRingError> {
        self.answer(&self.unwrapped).await?;
        self.inner.unwrap(key_id, wrapped, stream).await
    }
}

#[tokio::test]
async fn what_is_sealed_opens_and_shows_nothing_of_the_payload() {
    let (sealer, opener) = (sealer("orders"), opener("orders"));
    for payload in [&b""[..], b"x", b"two apples", &[7; 100_000]] {
        let sealed = sealer.seal(&key("k"), payload).await.unwrap();
        assert!(payload.len() < 8 || !sealed.windows(8).any(|part| part == &payload[..8]));
        assert_eq!(opener.open(&key("k"), &sealed).await.unwrap(), payload);
    }
}

#[tokio::test]
async fn the_format_is_the_one_described() {
    let sealed = sealer("orders").seal(&key("k"), b"payload").await.unwrap();
    assert_eq!(sealed[..7], [0x9e, b'k', b'c', b'l', 1, 1, 3]);
    assert_eq!(&sealed[7..10], b"new");
    assert_eq!(sealed[10..12], [0, 60], "a nonce, 32 bytes and a tag");
    assert_eq!(sealed.len(), 12 + 60 + 32 + 12 + 7 + 16);
}

#[tokio::test]
async fn an_envelope_of_version_1_opens_in_every_later_version() {
    let fixture = include_bytes!("fixtures/sealed-1.bin");
    let opened = opener("orders").open(&key("order-1"), &Bytes::from_static(fixture)).await;
    assert_eq!(opened.unwrap(), &b"two apples"[..]);
}

#[tokio::test]
async fn an_envelope_opens_for_its_stream_and_partition_key_alone() {
    let sealed = sealer("orders").seal(&key("k"), b"payload").await.unwrap();
    let moved = opener("orders").open(&key("l"), &sealed).await;
    assert_eq!(moved, Err(OpenError::Changed));
    let moved = opener("refunds").open(&key("k"), &sealed).await.unwrap_err();
    assert!(matches!(moved, OpenError::Ring(KeyRingError::Refused(_))), "{moved}");
    let arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/orders";
    assert!(opener(arn).open(&key("k"), &sealed).await.is_ok(), "an ARN names the same stream");
}

#[tokio::test]
async fn a_change_of_any_bit_and_a_cut_at_any_byte_is_an_error() {
    let sealed = sealer("orders").seal(&key("k"), b"pay").await.unwrap();
    let (fresh, warm) = (opener("orders"), opener("orders"));
    warm.open(&key("k"), &sealed).await.unwrap();
    for opener in [fresh, warm] {
        for at in 0..sealed.len() {
            assert!(opener.open(&key("k"), &sealed.slice(..at)).await.is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut changed = sealed.to_vec();
                changed[at] ^= 1 << bit;
                let opened = opener.open(&key("k"), &changed.into()).await;
                let error = opened.expect_err(&format!("bit {bit} of byte {at} was changed"));
                assert!(!error.is_transient(), "{error}");
            }
        }
        let longer = [&sealed[..], b"x"].concat();
        assert_eq!(opener.open(&key("k"), &longer.into()).await, Err(OpenError::Changed));
    }
}

#[tokio::test]
async fn another_ring_does_not_open_it_and_says_why() {
    let sealed = sealer("orders").seal(&key("k"), b"payload").await.unwrap();
    let open = async |text: &str| {
        let ring = Arc::new(LocalKeyRing::from_text(text).unwrap());
        Opener::new(ring, "orders", clock()).open(&key("k"), &sealed).await.unwrap_err()
    };
    let unknown = open(&RING.replace("new", "other")).await;
    assert_eq!(unknown, OpenError::Ring(KeyRingError::UnknownKey("new".into())));
    let other_key = open(&RING.replace("AAEC", "BBEC")).await;
    assert!(matches!(other_key, OpenError::Ring(KeyRingError::Refused(_))), "{other_key}");
}

/// Gives the same data key whatever was wrapped.
struct Stubborn(DataKey);

#[async_trait]
impl KeyRing for Stubborn {
    async fn generate(&self, _: &str) -> Result<NewKey, KeyRingError> {
        Ok(NewKey { key_id: "stubborn".into(), wrapped: vec![], key: self.0.clone() })
    }
    async fn unwrap(&self, _: &str, _: &[u8], _: &str) -> Result<DataKey, KeyRingError> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn an_envelope_is_committed_to_one_data_key() {
    let stubborn = || Arc::new(Stubborn(DataKey::random().unwrap()));
    let sealed = Sealer::new(stubborn(), "s", clock()).seal(&key("k"), b"x").await.unwrap();
    let opened = Opener::new(stubborn(), "s", clock()).open(&key("k"), &sealed).await;
    assert_eq!(opened, Err(OpenError::OtherKey));
}

#[tokio::test]
async fn a_payload_that_is_not_sealed_passes_only_if_told_so() {
    let plain = Bytes::from_static(b"two apples");
    assert_eq!(opener("orders").open(&key("k"), &plain).await, Err(OpenError::NotSealed));
    let lenient = opener("orders").plain_passes(true);
    assert_eq!(lenient.open(&key("k"), &plain).await, Ok(plain));
    let cut = sealer("orders").seal(&key("k"), b"x").await.unwrap().slice(..20);
    assert!(lenient.open(&key("k"), &cut).await.is_err(), "what begins like an envelope is one");
}

#[tokio::test]
async fn a_version_from_the_future_is_named() {
    let mut sealed = sealer("orders").seal(&key("k"), b"x").await.unwrap().to_vec();
    sealed[4] = 2;
    let error = opener("orders").open(&key("k"), &sealed.into()).await.unwrap_err();
    assert_eq!(error, OpenError::Version { version: 2, algorithm: 1 });
}

#[tokio::test]
async fn a_key_ring_that_changed_its_primary_key_opens_what_both_sealed() {
    let before = RING.replace("primary = \"new\"", "primary = \"old\"");
    let before = LocalKeyRing::from_text(&before).unwrap();
    let old =
        Sealer::new(Arc::new(before), "orders", clock()).seal(&key("k"), b"old").await.unwrap();
    let new = sealer("orders").seal(&key("k"), b"new").await.unwrap();
    let opener = opener("orders");
    assert_eq!(opener.open(&key("k"), &old).await.unwrap(), &b"old"[..]);
    assert_eq!(opener.open(&key("k"), &new).await.unwrap(), &b"new"[..]);
}

#[tokio::test(start_paused = true)]
async fn a_data_key_is_used_for_so_many_payloads_and_so_long() {
    let (ring, clock) = (Counting::new(), Arc::new(TokioClock::starting_at(0)));
    let rotation = Rotation { records: 3, age: Duration::from_secs(60) };
    let sealer = Sealer::new(ring.clone(), "s", clock.clone()).with_rotation(rotation).unwrap();
    for (number, keys) in [1, 1, 1, 2, 2, 2, 3].into_iter().enumerate() {
        sealer.seal(&key("k"), b"x").await.unwrap();
        assert_eq!(ring.counts().0, keys, "payload {number}");
    }
    clock.sleep(Duration::from_secs(59)).await;
    sealer.seal(&key("k"), b"x").await.unwrap();
    assert_eq!(ring.counts().0, 3);
    clock.sleep(Duration::from_secs(1)).await;
    assert!(sealer.try_seal(&key("k"), b"x").is_none(), "it is too old");
    sealer.seal(&key("k"), b"x").await.unwrap();
    assert_eq!(ring.counts().0, 4);
}

#[test]
fn a_rotation_out_of_bounds_is_refused() {
    let default = Rotation::default();
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    for (rotation, field) in [
        (Rotation { records: 0, ..default }, "records"),
        (Rotation { records: (1 << 32) + 1, ..default }, "records"),
        (Rotation { age: Duration::ZERO, ..default }, "age"),
        (Rotation { age: hours(25), ..default }, "age"),
    ] {
        assert_eq!(sealer("s").with_rotation(rotation).unwrap_err().field, field);
    }
    let most = Rotation { records: 1 << 32, age: hours(24) };
    assert!(sealer("s").with_rotation(most).is_ok());
}

#[tokio::test]
async fn many_who_seal_at_once_make_one_data_key_and_no_nonce_comes_twice() {
    let ring = Counting::new();
    let sealer = Arc::new(Sealer::new(ring.clone(), "s", clock()));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let sealer = Arc::clone(&sealer);
            tokio::spawn(async move { sealer.seal(&"k".into(), b"x").await.unwrap() })
        })
        .collect();
    let mut nonces = std::collections::BTreeSet::new();
    for task in tasks {
        let sealed = task.await.unwrap();
        nonces.insert(sealed[sealed.len() - 29..sealed.len() - 17].to_vec());
    }
    assert_eq!((ring.counts().0, nonces.len()), (1, 50));
}

#[tokio::test(start_paused = true)]
async fn many_who_seal_while_the_ring_is_away_hear_so_at_once() {
    let ring = Counting::new();
    let sealer = Arc::new(Sealer::new(ring.clone(), "s", clock()));
    ring.is_away.store(true, Ordering::SeqCst);
    let seal = || {
        let sealer = Arc::clone(&sealer);
        tokio::spawn(async move { sealer.seal(&"k".into(), b"x").await })
    };
    let tasks: Vec<_> = (0..50).map(|_| seal()).collect();
    for task in tasks {
        assert!(task.await.unwrap().is_err_and(|error| error.is_transient()));
    }
    assert_eq!(ring.counts().0, 1, "one asked for all");
    ring.is_away.store(false, Ordering::SeqCst);
    assert!(seal().await.unwrap().is_ok(), "who comes later asks anew");
}

#[tokio::test(start_paused = true)]
async fn a_ring_that_is_away_is_asked_once_a_second_by_those_who_do_not_wait() {
    let (ring, clock) = (Counting::new(), Arc::new(TokioClock::starting_at(0)));
    let sealer = Sealer::new(ring.clone(), "s", clock.clone());
    ring.is_away.store(true, Ordering::SeqCst);
    for asked in 1..=3 {
        assert_eq!(sealer.try_seal(&key("k"), b"x"), None);
        clock.sleep(Duration::from_millis(1)).await;
        for _ in 0..10 {
            let refused = sealer.try_seal(&key("k"), b"x").expect("it says why").unwrap_err();
            assert!(refused.is_transient(), "{refused}");
        }
        assert_eq!(ring.counts().0, asked);
        clock.sleep(Duration::from_secs(1)).await;
    }
    ring.is_away.store(false, Ordering::SeqCst);
    assert!(sealer.seal(&key("k"), b"x").await.is_ok());
    assert!(sealer.try_seal(&key("k"), b"x").is_some_and(|sealed| sealed.is_ok()));
}

/// Never says anything.
struct Silent(AtomicUsize);

#[async_trait]
impl KeyRing for Silent {
    async fn generate(&self, _: &str) -> Result<NewKey, KeyRingError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
    async fn unwrap(&self, _: &str, _: &[u8], _: &str) -> Result<DataKey, KeyRingError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_ring_that_never_answers_is_waited_for_half_a_minute_and_asked_anew() {
    let (ring, clock) =
        (Arc::new(Silent(AtomicUsize::new(0))), Arc::new(TokioClock::starting_at(0)));
    let sealer = Sealer::new(ring.clone(), "s", clock.clone());
    for asked in 1..=2 {
        let begun = clock.monotonic();
        let refused = sealer.seal(&key("k"), b"x").await.unwrap_err();
        assert!(refused.is_transient(), "{refused}");
        assert!((30..32).contains(&clock.monotonic().since(begun).as_secs()));
        assert_eq!(ring.0.load(Ordering::SeqCst), asked);
    }
}

#[test]
fn a_renewal_whose_runtime_ends_is_told_and_the_next_one_asks_anew() {
    let ring = Counting::new();
    let sealer = Sealer::new(ring.clone(), "s", clock());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ended = runtime();
    let inside = ended.enter();
    assert_eq!(sealer.try_seal(&key("k"), b"x"), None);
    drop(inside);
    drop(ended);
    let refused = sealer.try_seal(&key("k"), b"x").expect("it says why").unwrap_err();
    assert!(refused.is_transient(), "{refused}");
    assert!(runtime().block_on(sealer.seal(&key("k"), b"x")).is_ok());
    assert!(sealer.try_seal(&key("k"), b"x").is_some_and(|sealed| sealed.is_ok()));
}

#[tokio::test(start_paused = true)]
async fn an_opener_asks_the_ring_once_an_hour_for_each_data_key() {
    let (ring, clock) = (Counting::new(), Arc::new(TokioClock::starting_at(0)));
    let opener = Opener::new(ring.clone(), "s", clock.clone());
    let sealed = sealer("s").seal(&key("k"), b"x").await.unwrap();
    assert!(opener.try_open(&key("k"), &sealed).is_none());
    for _ in 0..10 {
        opener.open(&key("k"), &sealed).await.unwrap();
    }
    assert_eq!(ring.counts().1, 1);
    assert!(opener.try_open(&key("k"), &sealed).is_some());
    clock.sleep(Duration::from_secs(3600)).await;
    opener.open(&key("k"), &sealed).await.unwrap();
    assert_eq!(ring.counts().1, 2);
}

#[tokio::test]
async fn many_who_open_at_once_ask_for_a_data_key_once_and_hear_the_same() {
    let ring = Counting::new();
    let opener = Arc::new(Opener::new(ring.clone(), "s", clock()));
    let sealed = sealer("s").seal(&key("k"), b"x").await.unwrap();
    let open_all = async || {
        let open = || {
            let (opener, sealed) = (Arc::clone(&opener), sealed.clone());
            tokio::spawn(async move { opener.open(&"k".into(), &sealed).await })
        };
        let tasks: Vec<_> = (0..50).map(|_| open()).collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        answers
    };
    ring.is_away.store(true, Ordering::SeqCst);
    let failed = open_all().await;
    assert!(failed.iter().all(|answer| answer.as_ref().is_err_and(OpenError::is_transient)));
    assert_eq!(ring.counts().1, 1);
    ring.is_away.store(false, Ordering::SeqCst);
    // Who asked first may be dropped midway: the next asks.
    let key = key("k");
    let first = tokio::select! { biased;
        answer = opener.open(&key, &sealed) => Some(answer),
        () = std::future::ready(()) => None,
    };
    assert!(first.is_none());
    assert!(open_all().await.iter().all(Result::is_ok));
    assert_eq!(ring.counts().1, 3);
}

#[tokio::test]
async fn an_opener_keeps_the_data_keys_used_last_and_no_more_than_its_bound() {
    let ring = Counting::new();
    let opener = Opener::new(ring.clone(), "s", clock());
    let first = sealer("s").seal(&key("k"), b"x").await.unwrap();
    let second = sealer("s").seal(&key("k"), b"x").await.unwrap();
    opener.open(&key("k"), &first).await.unwrap();
    opener.open(&key("k"), &second).await.unwrap();
    for _ in 0..OPENED_DATA_KEYS {
        let sealed = sealer("s").seal(&key("k"), b"x").await.unwrap();
        opener.open(&key("k"), &sealed).await.unwrap();
        assert!(opener.try_open(&key("k"), &first).is_some(), "it is in use");
    }
    assert!(opener.try_open(&key("k"), &second).is_none(), "it was not used for longest");
    assert_eq!(format!("{opener:?}"), format!("Opener(s, {OPENED_DATA_KEYS} data keys)"));
}

#[tokio::test]
async fn a_ring_that_is_away_is_no_fault_of_the_record() {
    let ring = Counting::new();
    ring.is_away.store(true, Ordering::SeqCst);
    let (sealer, opener) =
        (Sealer::new(ring.clone(), "s", clock()), Opener::new(ring.clone(), "s", clock()));
    let refused: SealError = sealer.seal(&key("k"), b"x").await.unwrap_err();
    assert!(refused.is_transient(), "{refused}");
    ring.is_away.store(false, Ordering::SeqCst);
    let sealed = sealer.seal(&key("k"), b"x").await.unwrap();
    ring.is_away.store(true, Ordering::SeqCst);
    assert!(opener.open(&key("k"), &sealed).await.unwrap_err().is_transient());
    ring.is_away.store(false, Ordering::SeqCst);
    assert!(opener.open(&key("k"), &sealed).await.is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_open_and_none_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        id in 0u8..8,
        wrapped in 0u8..80,
    ) {
        let opener = opener("s");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (start, id) = ([0x9e, b'k', b'c', b'l', 1, 1, id], &b"newnewnew"[..id.into()]);
        let likely = [&start[..], id, &[0, wrapped], &bytes].concat();
        for data in [bytes, likely] {
            prop_assert!(runtime.block_on(opener.open(&"k".into(), &data.into())).is_err());
        }
    }
}
