//! What the workers said, what the table took and what the sink accepted, as one history that the
//! checkers of the testkit judge.

use std::collections::BTreeSet;
use std::time::Duration;

use kcl_core::HoldReason;
use kcl_core::event::{Event, EventKind, Span};
use kcl_core::protocol::{
    Checkpoint, Fence, LeaseKey, Moment, Ordinal, Position, ShardId, WorkerId,
};
use kcl_testkit::history::{Entry, What};

use crate::contract::{Line, LineEvent};
use crate::ledger::Puts;
use crate::proxy::Written;
use crate::sink::Accepted;
use crate::verdict::{Evidence, Lineage};

pub(crate) fn moment(seconds: f64) -> Moment {
    Moment(Duration::from_secs_f64(seconds.max(0.0)))
}

/// Everything in the order of its times.
pub(crate) fn history(evidence: &Evidence<'_>) -> Vec<Entry> {
    let Evidence { lines, puts, lineage, checkpoints, effects, .. } = evidence;
    let mut entries = stream(puts, lineage);
    let mut timed: Vec<_> = lines.iter().flat_map(|line| of_line(line, puts)).collect();
    timed.extend(checkpoints.iter().map(checkpointed));
    timed.extend(effects.iter().zip(0..).map(|(effect, number)| applied(effect, number)));
    timed.sort_by_key(|entry| entry.at);
    entries.extend(timed);
    entries
}

/// The shards and their records, known before they were read, whatever the producer's clock says.
fn stream(puts: &Puts, lineage: &Lineage) -> Vec<Entry> {
    let made = |shard: &str| What::ShardMade {
        shard: ShardId::new(shard),
        parents: lineage.get(shard).into_iter().flatten().map(ShardId::new).collect(),
    };
    let shards: BTreeSet<_> = puts.values().map(|put| put.shard.as_str()).collect();
    let put = puts
        .values()
        .map(|put| What::Put { shard: ShardId::new(&put.shard), positions: vec![put.position] });
    let what = shards.into_iter().map(made).chain(put);
    what.map(|what| Entry { at: moment(0.0), what }).collect()
}

fn event(worker: &str, at: Moment, kind: EventKind) -> Entry {
    Entry { at, what: What::Event(Event { at, worker: WorkerId::new(worker), kind }) }
}

fn of_line(line: &Line, puts: &Puts) -> Vec<Entry> {
    match &line.event {
        LineEvent::ShardStart { shard, seq, fence: Some(fence) } => {
            begun(line, shard, seq.as_deref(), Fence(*fence))
        }
        LineEvent::Records { .. } => batch(line, puts),
        _ => Vec::new(),
    }
}

/// A worker that tells its fence holds a shard from here on.
fn begun(line: &Line, shard: &str, seq: Option<&str>, fence: Fence) -> Vec<Entry> {
    let (at, lease) = (moment(line.ts), LeaseKey::new(shard));
    let held = EventKind::LeaseHeld {
        lease: lease.clone(),
        fence,
        from: None,
        reason: HoldReason::Started,
    };
    let checkpoint = match seq {
        None => Some(Checkpoint::TrimHorizon),
        Some(text) => position(text).map(Checkpoint::At),
    };
    let started =
        checkpoint.map(|checkpoint| EventKind::ConsumerStarted { lease, fence, checkpoint });
    let kinds = [Some(held), started].into_iter().flatten();
    kinds.map(|kind| event(&line.worker, at, kind)).collect()
}

/// A batch: given when it began, done when the line was written.
fn batch(line: &Line, puts: &Puts) -> Vec<Entry> {
    let LineEvent::Records { shard, ids, fence, started, valid_until, .. } = &line.event else {
        return Vec::new();
    };
    let numbers = ids.iter().filter_map(|id| puts.get(&id.parse().ok()?));
    let positions: Vec<Position> = numbers.map(|put| put.position).collect();
    let (Some(first), Some(last)) = (positions.first(), positions.last()) else {
        return Vec::new();
    };
    let (at, lease) = (moment(started.unwrap_or(line.ts)), LeaseKey::new(shard));
    let mut entries = Vec::new();
    if let (Some(fence), Some(until)) = (fence, valid_until) {
        let span = Span { first: *first, last: *last, count: positions.len() };
        let (lease, fence) = (lease.clone(), Fence(*fence));
        let valid_until = moment(*until);
        let kind = EventKind::BatchStarted { lease, fence, span, valid_until };
        entries.push(event(&line.worker, at, kind));
    }
    let given = What::Given { lease: lease.clone(), positions: positions.clone() };
    entries.push(Entry { at, what: given });
    entries.extend(fence.map(|fence| {
        let what = What::Acked { lease, fence: Fence(fence), positions };
        Entry { at: moment(line.ts), what }
    }));
    entries
}

fn checkpointed(written: &Written) -> Entry {
    let kind = EventKind::Checkpointed {
        lease: LeaseKey::new(&written.lease),
        fence: Fence(written.fence),
        checkpoint: written.checkpoint,
        ordinal: Ordinal(written.ordinal),
    };
    event(&written.worker, moment(written.at), kind)
}

/// Batches of the sink have no ordinals of their own: each is taken for another one.
fn applied(effect: &Accepted, number: u64) -> Entry {
    let (lease, fence) = (LeaseKey::new(&effect.shard), Fence(effect.fence));
    let what = What::Effects { lease, fence, ordinal: Ordinal(number) };
    Entry { at: moment(effect.at), what }
}

/// `number` or `number/subsequence`; other programs may spell places as they like.
fn position(text: &str) -> Option<Position> {
    let (sequence, subsequence) = text.split_once('/').unwrap_or((text, "0"));
    Some(Position { sequence: sequence.parse().ok()?, subsequence: subsequence.parse().ok()? })
}
