//! The worker that is drilled if no other command is given: production-shaped, and chatty.

pub(crate) mod lines;
mod polls;
mod processor;
mod settings;

use std::error::Error;
use std::sync::Arc;

use kcl_core::{
    Config, ConsumerConfig, Event, EventKind, HintAddress, InitialPosition, Observer, Scheduler,
};
use kcl_lease_dynamo::{DynamoLeaseTable, TableOptions};
use kcl_stream_kinesis::KinesisSource;
use tokio::signal::unix::{SignalKind, signal};

use crate::clients;
use crate::contract::LineEvent;
use crate::sink::SinkClient;
use lines::Lines;
pub(crate) use lines::unix_seconds;
use processor::Processor;
pub use settings::Settings;

/// Tells of what the worker does: overruns to the drill, the rest to the log.
struct Teller {
    lines: Lines,
}

impl Observer for Teller {
    fn observe(&self, event: &Event) {
        match &event.kind {
            EventKind::BatchStarted { .. } | EventKind::BatchEnded { .. } => return,
            EventKind::Overrun { lease, past, .. } => self.lines.say(LineEvent::Overrun {
                shard: lease.shard().to_string(),
                past_ms: past.as_secs_f64() * 1000.0,
            }),
            EventKind::Registered => self.lines.say(LineEvent::Ready),
            _ => {}
        }
        eprintln!("{:.3} {event}", unix_seconds());
    }
}

/// Runs until SIGTERM or SIGINT, then hands every shard over.
///
/// # Errors
/// A setting that is missing or wrong, by name; or what stopped the worker.
pub async fn run(settings: Settings) -> Result<(), Box<dyn Error>> {
    let client = clients::dynamodb(&settings.dynamodb);
    let heartbeat = settings.lease_duration / 3;
    let table = DynamoLeaseTable::builder(client, &settings.application)
        .create_if_missing(TableOptions::default())
        .request_timeout(heartbeat * 2)
        .build();
    let liveness = table.for_liveness(&clients::dynamodb(&settings.dynamodb), heartbeat);
    let source = KinesisSource::builder(clients::kinesis(&settings.kinesis), &settings.stream)
        .idle(settings.poll)
        .read_interval(settings.poll)
        .build();
    let consumer = ConsumerConfig {
        checkpoint_interval: settings.checkpoint,
        kind: settings.kind,
        batch_records: settings.batch_records,
        ..ConsumerConfig::default()
    };
    let mut config = Config::new(&settings.application)
        .worker_name(&settings.worker)
        .lease_duration(settings.lease_duration)
        .blocking_grace(settings.grace)
        .initial_position(InitialPosition::TrimHorizon)
        .consumer(consumer)
        .hints(settings.hints);
    if settings.start_at_latest {
        config = config.initial_position(InitialPosition::Latest);
    }
    if settings.hints {
        config = config.hint_address(HintAddress::new(([127, 0, 0, 1], 0).into()));
    }
    let lines = Lines::start(&settings.worker);
    let config = config.observer(Arc::new(Teller { lines: lines.clone() }));
    let sink = settings.sink.as_deref().map(SinkClient::new).map(Arc::new);
    let (told, work) = (lines.clone(), settings.work);
    let factory =
        move |start: &kcl_core::ShardStart| Processor::new(start, told.clone(), sink.clone(), work);
    let scheduler = Scheduler::new(config, Arc::new(table), Arc::new(source), factory)?
        .liveness_table(Arc::new(liveness));
    let handle = scheduler.handle();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut running = tokio::spawn(scheduler.run());
    tokio::select! { biased;
        ended = &mut running => return Ok(ended??),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    handle.shutdown().await;
    running.await??;
    lines.say(LineEvent::Shutdown);
    lines.written().await;
    Ok(())
}
