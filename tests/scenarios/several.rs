//! Streams that are added and removed while workers run, not by all at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kcl_core::event::EventKind;
use kcl_core::protocol::{Checkpoint, LeaseKey, Position, ShardId, StreamName};
use kcl_core::{
    CommandError, Handle, ReadFrom, Scheduler, Shard, ShardName, ShardReader, ShardStart,
    SourceError, StreamDescription, StreamError, StreamSource, WorkerError, async_trait,
};
use kcl_stream_local::{Engine, LocalSource, NewRecord, Stream, StreamOptions};
use kcl_testkit::history::{What, check_safety};
use tokio::task::JoinHandle;

use crate::fleet::{Fleet, Note};

const SETTLED: Duration = Duration::from_secs(15);

/// A stream as a service knows it: by its name, whichever stream has it now.
struct ByName {
    engine: Engine,
    name: &'static str,
}

impl ByName {
    fn source(&self) -> Result<LocalSource, SourceError> {
        Ok(self.engine.stream(self.name)?.source())
    }
}

#[async_trait]
impl StreamSource for ByName {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        self.source()?.describe().await
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.source()?.list_shards().await
    }
    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        self.source()?.open(shard, from).await
    }
}

struct Several {
    fleet: Fleet,
    more: Stream,
}

struct Worker {
    handle: Handle,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl Several {
    /// Stream `s` of 4 shards and `more` of 3.
    fn new() -> Self {
        let fleet = Fleet::new(4);
        let more = fleet.engine.create_stream("more", 3, StreamOptions::unlimited()).unwrap();
        Self { fleet, more }
    }

    /// A worker that reads stream `s`, and could read more.
    fn start(&mut self) -> Worker {
        let (config, table) = (self.fleet.config(), Arc::new(self.fleet.cable()));
        let source = Arc::new(self.fleet.stream.source());
        let scheduler = Scheduler::new(config, table, source, self.note()).unwrap();
        let scheduler = scheduler.several_streams();
        Worker { handle: scheduler.handle(), task: tokio::spawn(scheduler.run()) }
    }

    /// Notes under the key of the lease.
    fn note(&self) -> impl Fn(&ShardStart) -> Note + Send + Sync + 'static {
        let notes = self.fleet.notes();
        let created = [&self.fleet.stream, &self.more].map(|stream| {
            let about = stream.describe().ok();
            (stream.name().clone(), about.map_or(0, |about| about.created_at_millis))
        });
        let created = BTreeMap::from(created);
        move |start: &ShardStart| {
            let prefix = format!("000000000000:{}:{}", start.stream, created[&start.stream]);
            let lease = LeaseKey::in_stream(&prefix, &start.shard);
            notes.under(lease, start)
        }
    }

    async fn add(&self, worker: &Worker) -> Result<(), StreamError> {
        let source = ByName { engine: self.fleet.engine.clone(), name: "more" };
        worker.handle.add_stream(Arc::new(source), self.note()).await
    }

    fn put_more(&self, records: u32) {
        for number in 0..records {
            let receipt = self.more.put(NewRecord::new(format!("k{number}"), "data")).unwrap();
            let positions = [Position::from(receipt.sequence)];
            self.fleet.recorder.put(&receipt.shard.id(), positions);
        }
    }

    /// How often each record of `more` was given to a processor.
    fn given(&self) -> usize {
        let history = self.fleet.recorder.history();
        let of_more = history.iter().map(|entry| match &entry.what {
            What::Given { lease, positions } if lease.as_str().contains(":more:") => {
                positions.len()
            }
            _ => 0,
        });
        of_more.sum()
    }

    fn count(&self, wanted: impl Fn(&EventKind) -> bool) -> usize {
        let history = self.fleet.recorder.history();
        let told = history.iter().filter(|entry| match &entry.what {
            What::Event(event) => wanted(&event.kind),
            _ => false,
        });
        told.count()
    }
}

/// Shards a worker runs, by stream.
fn shards(worker: &Worker) -> BTreeMap<String, usize> {
    let mut shards = BTreeMap::new();
    for shard in worker.handle.status().shards {
        *shards.entry(shard.stream.to_string()).or_default() += 1;
    }
    shards
}

fn of(worker: &Worker, stream: &str) -> usize {
    shards(worker).get(stream).copied().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_stream_added_to_one_worker_is_read_there_and_balanced_once_all_read_it() {
    let mut world = Several::new();
    let (one, two) = (world.start(), world.start());
    world.fleet.pass(SETTLED).await;
    assert_eq!((of(&one, "s"), of(&two, "s")), (2, 2));
    world.add(&one).await.unwrap();
    world.put_more(30);
    world.fleet.pass(SETTLED * 2).await;
    assert_eq!((of(&one, "more"), of(&two, "more")), (3, 0), "only one worker reads it");
    assert_eq!((of(&one, "s"), of(&two, "s")), (1, 3), "so the other takes of what both read");
    world.add(&two).await.unwrap();
    world.fleet.pass(SETTLED).await;
    let total = |worker| shards(worker).values().sum::<usize>();
    assert!(total(&one).abs_diff(total(&two)) <= 1, "{:?} {:?}", shards(&one), shards(&two));
    assert_eq!(world.given(), 30);
    let moves = world.count(|kind| matches!(kind, EventKind::LeaseHeld { .. }));
    world.fleet.pass(Duration::from_secs(600)).await;
    assert_eq!(world.count(|kind| matches!(kind, EventKind::LeaseHeld { .. })), moves, "P7");
    assert_eq!(check_safety(&world.fleet.recorder.history()), []);
}

#[tokio::test(start_paused = true)]
async fn a_stream_removed_from_a_worker_goes_on_where_it_was_at_those_that_read_it() {
    let mut world = Several::new();
    let (one, two) = (world.start(), world.start());
    world.fleet.pass(SETTLED).await;
    world.add(&one).await.unwrap();
    world.put_more(30);
    world.fleet.pass(SETTLED).await;
    world.add(&two).await.unwrap();
    world.fleet.pass(SETTLED).await;
    one.handle.remove_stream(&StreamName::new("more")).await.unwrap();
    assert_eq!(of(&one, "more"), 0, "it is answered once nothing of it is held");
    world.put_more(30);
    world.fleet.pass(SETTLED).await;
    assert_eq!((of(&one, "more"), of(&two, "more")), (0, 3));
    assert_eq!((of(&one, "s") + of(&two, "s"), world.given()), (4, 60), "each record once");
    assert_eq!(check_safety(&world.fleet.recorder.history()), []);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_is_left_alone_and_goes_on_at_its_checkpoints() {
    let mut world = Several::new();
    let (one, _two) = (world.start(), world.start());
    world.fleet.pass(SETTLED).await;
    world.add(&one).await.unwrap();
    world.put_more(30);
    world.fleet.pass(SETTLED).await;
    one.handle.remove_stream(&StreamName::new("more")).await.unwrap();
    world.fleet.pass(SETTLED).await;
    let before = world.fleet.recorder.history().len();
    let of_more = |lease: &LeaseKey| lease.stream_prefix().is_some_and(|of| of.contains("more"));
    world.fleet.pass(Duration::from_secs(3600 * 3)).await;
    let later = world.fleet.recorder.history().split_off(before);
    let amiss = later.iter().filter(|entry| match &entry.what {
        What::Event(event) => matches!(
            event.kind,
            EventKind::Stuck { .. } | EventKind::Disagrees { .. } | EventKind::LeaseHeld { .. }
        ),
        _ => false,
    });
    assert_eq!(amiss.count(), 0, "neither stuck nor lost, and nothing moves");
    let leases = world.fleet.leases().await;
    let left: Vec<_> = leases.iter().filter(|lease| of_more(&lease.key)).collect();
    assert_eq!(left.len(), 3, "no row is taken for garbage");
    assert!(
        left.iter()
            .all(|lease| lease.owner.is_none() && matches!(lease.checkpoint, Checkpoint::At(_)))
    );
    world.put_more(30);
    world.add(&one).await.unwrap();
    world.fleet.pass(SETTLED).await;
    assert_eq!((of(&one, "more"), world.given()), (3, 60));
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_dead_worker_wait_for_one_that_reads_their_stream() {
    let mut world = Several::new();
    let (one, two) = (world.start(), world.start());
    world.fleet.pass(SETTLED).await;
    world.add(&one).await.unwrap();
    world.fleet.pass(SETTLED).await;
    one.task.abort();
    world.put_more(30);
    world.fleet.pass(Duration::from_secs(3600 * 3)).await;
    assert_eq!((of(&two, "s"), of(&two, "more")), (4, 0));
    world.add(&two).await.unwrap();
    world.fleet.pass(SETTLED).await;
    assert_eq!((of(&two, "more"), world.given()), (3, 30));
}

#[tokio::test(start_paused = true)]
async fn a_reshard_of_a_stream_that_few_read_is_followed() {
    let mut world = Several::new();
    let (one, _two) = (world.start(), world.start());
    world.fleet.pass(SETTLED).await;
    world.add(&one).await.unwrap();
    world.fleet.pass(SETTLED).await;
    world.more.update_shard_count(6).unwrap();
    world.put_more(60);
    world.fleet.pass(Duration::from_secs(90)).await;
    assert_eq!((of(&one, "more"), world.given()), (6, 60));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_added_or_removed_is_refused_by_name() {
    let mut world = Several::new();
    let one = world.start();
    world.fleet.pass(SETTLED).await;
    let name = StreamName::new("more");
    let not_read = one.handle.remove_stream(&name).await.unwrap_err();
    assert!(matches!(&not_read, StreamError::NotRead(stream) if *stream == name), "{not_read}");
    world.add(&one).await.unwrap();
    let twice = world.add(&one).await.unwrap_err();
    assert!(matches!(&twice, StreamError::AlreadyRead(stream) if *stream == name), "{twice}");
    one.handle.remove_stream(&name).await.unwrap();
    world.fleet.engine.delete_stream("more").unwrap();
    world.fleet.pass(SETTLED).await;
    let gone = world.add(&one).await.unwrap_err();
    let is_unknown =
        matches!(&gone, StreamError::Refused(WorkerError::Source(SourceError::NotFound(_))));
    assert!(is_unknown, "{gone}");
    world.more = world.fleet.engine.create_stream("more", 1, StreamOptions::unlimited()).unwrap();
    let remade = world.add(&one).await.unwrap_err();
    let is_remade = matches!(&remade, StreamError::Refused(WorkerError::StreamRecreated { .. }));
    assert!(is_remade, "{remade}");
    one.handle.shutdown().await;
    assert!(matches!(world.add(&one).await, Err(StreamError::Stopped)));
}

/// Refuses so many requests first.
struct Throttled(ByName, AtomicU32);

#[async_trait]
impl StreamSource for Throttled {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        match left {
            Ok(_) => Err(SourceError::Unavailable("not now".into())),
            Err(_) => self.0.describe().await,
        }
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.0.list_shards().await
    }
    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        self.0.open(shard, from).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_reached_for_a_moment_is_added_and_not_one_that_never_can() {
    let mut world = Several::new();
    let one = world.start();
    world.fleet.pass(SETTLED).await;
    let throttled = |requests| {
        let more = ByName { engine: world.fleet.engine.clone(), name: "more" };
        Arc::new(Throttled(more, AtomicU32::new(requests)))
    };
    let asked = world.fleet.now();
    let refused = one.handle.add_stream(throttled(1_000), world.note()).await.unwrap_err();
    assert!(refused.to_string().contains("not now"), "{refused}");
    let waited = world.fleet.now().since(asked);
    assert!((2..20).contains(&waited.as_secs()), "{waited:?}");
    one.handle.add_stream(throttled(5), world.note()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_of_one_stream_takes_no_second_and_a_table_has_keys_of_one_kind() {
    let mut world = Several::new();
    let single = world.fleet.start();
    world.fleet.pass(SETTLED).await;
    let source = Arc::new(world.more.source());
    let refused = single.handle.add_stream(source, world.note()).await.unwrap_err();
    assert!(matches!(refused, StreamError::OneStream), "{refused}");
    single.handle.shutdown().await;
    let refused = world.start().task.await.unwrap().unwrap_err();
    assert!(matches!(refused, WorkerError::OtherKeys { several: true, .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_made_again_while_it_is_read_is_refused_and_the_others_go_on() {
    let mut world = Several::new();
    let one = world.start();
    world.fleet.pass(SETTLED).await;
    world.add(&one).await.unwrap();
    world.fleet.pass(SETTLED).await;
    world.fleet.engine.delete_stream("more").unwrap();
    world.fleet.pass(Duration::from_secs(1)).await;
    world.more = world.fleet.engine.create_stream("more", 3, StreamOptions::unlimited()).unwrap();
    world.put_more(30);
    world.fleet.pass(Duration::from_secs(120)).await;
    assert_eq!((of(&one, "s"), of(&one, "more"), world.given()), (4, 0, 0));
    let refused = |kind: &EventKind| {
        matches!(kind, EventKind::StreamRefused { stream, error }
            if stream.as_str() == "more" && error.contains("was created at"))
    };
    assert_eq!(world.count(refused), 1);
}

#[tokio::test(start_paused = true)]
async fn the_one_stream_made_again_while_it_is_read_stops_the_worker_with_the_reason() {
    let mut fleet = Fleet::new(2);
    let source = ByName { engine: fleet.engine.clone(), name: "s" };
    let (config, note) = (fleet.config(), fleet.note());
    let worker = fleet.start_on(config, Arc::new(source), note);
    fleet.pass(SETTLED).await;
    fleet.engine.delete_stream("s").unwrap();
    fleet.pass(Duration::from_secs(1)).await;
    fleet.stream = fleet.engine.create_stream("s", 2, StreamOptions::unlimited()).unwrap();
    fleet.pass(Duration::from_secs(120)).await;
    let error = worker.end().await.unwrap_err();
    assert!(matches!(error, WorkerError::StreamRecreated { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_command_for_a_shard_that_several_streams_have_must_name_the_stream() {
    let mut world = Several::new();
    let one = world.start();
    world.fleet.pass(SETTLED).await;
    world.add(&one).await.unwrap();
    world.fleet.pass(SETTLED).await;
    let shard = ShardId::new("shardId-000000000001");
    let CommandError::Ambiguous { streams, .. } = one.handle.pause(&shard).await.unwrap_err()
    else {
        panic!("two streams have it")
    };
    assert_eq!(streams, [StreamName::new("more"), StreamName::new("s")]);
    let more = StreamName::new("more");
    one.handle.pause((&more, &shard)).await.unwrap();
    world.fleet.pass(Duration::from_secs(1)).await;
    let paused = one
        .handle
        .status()
        .shards
        .into_iter()
        .filter(|status| status.consumer.state == kcl_core::ConsumerState::Paused);
    let paused: Vec<_> = paused.map(|status| (status.stream, status.shard)).collect();
    assert_eq!(paused, [(more, shard)]);
    let only = ShardName::from(&ShardId::new("shardId-000000000003"));
    one.handle.resume(only).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_given_one_stream_twice_is_refused_and_the_error_names_it() {
    let mut world = Several::new();
    let (config, table) = (world.fleet.config(), Arc::new(world.fleet.cable()));
    let source = || Arc::new(ByName { engine: world.fleet.engine.clone(), name: "more" });
    let scheduler = Scheduler::new(config, table, source(), world.note()).unwrap();
    let twice = scheduler.stream(source(), world.note()).run().await.unwrap_err();
    let is_named = matches!(&twice, WorkerError::StreamTwice { stream, first, .. }
        if stream.as_str() == "more" && first.as_str() == "more");
    assert!(is_named, "{twice}");
}
