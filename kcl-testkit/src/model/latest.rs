//! LATEST is resolved once for an application: the first stored position is where all leases of
//! the first sync start, whoever makes them.

use std::collections::{BTreeMap, BTreeSet};

use kcl_protocol::shard_sync::{ListedShard, goes_by, plan_sync};
use kcl_protocol::{
    Checkpoint, ConditionalWrite, HashKeyRange, LeaseKey, Mutant, Row, Rules, ShardId, StreamName,
    StreamRow, StreamStart, StreamWrite,
};
use stateright::{Model, Property};

/// No lease starts behind the position that was stored first.
pub const ONCE: &str = "P1 no lease of the first sync starts above the stored position";
/// Not a promise: if all resolved one position, or no lease was made, nothing would be proven.
pub const TWICE: &str = "two workers resolve two positions, and all leases are made";

/// Workers that start together on a stream that grows.
#[derive(Clone, Debug)]
pub struct FirstSync {
    /// How many.
    pub workers: usize,
    /// Records that arrive meanwhile.
    pub records: u64,
    /// The rule that is broken, if any.
    pub rules: Rules,
}

/// One moment of a first sync.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Syncing {
    tip: u64,
    stream: Option<Row>,
    leases: Vec<Option<Row>>,
    /// The stream's row as each worker resolved it, and the put it sent.
    workers: Vec<(Option<StreamRow>, Option<ConditionalWrite>)>,
}

/// One step of a first sync.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A record arrives.
    Produce,
    /// Asks the stream where its tip is, and sends the put of the stream's row.
    Resolve(usize),
    /// The put applies, or finds a row; it may apply again.
    Apply(usize),
    /// Makes the lease of this shard.
    MakeLease(usize, usize),
    /// The process dies; its put is still on its way.
    Restart(usize),
}

const SHARDS: usize = 2;

impl FirstSync {
    /// The same with one rule broken.
    #[must_use]
    pub fn breaking(self, mutant: Mutant) -> Self {
        Self { rules: Rules::breaking(mutant), ..self }
    }
}

impl Model for FirstSync {
    type State = Syncing;
    type Action = Step;

    fn init_states(&self) -> Vec<Syncing> {
        let workers = vec![(None, None); self.workers];
        vec![Syncing { tip: 1, stream: None, leases: vec![None; SHARDS], workers }]
    }

    fn actions(&self, state: &Syncing, out: &mut Vec<Step>) {
        if state.tip <= self.records {
            out.push(Step::Produce);
        }
        let again = self.rules.breaks(Mutant::LatestResolvedTwice);
        for (worker, (resolved, put)) in state.workers.iter().enumerate() {
            match resolved {
                None if state.stream.is_none() || again => out.push(Step::Resolve(worker)),
                None => {}
                Some(_) => out.push(Step::Restart(worker)),
            }
            if put.is_some() {
                out.push(Step::Apply(worker));
            }
            if state.stream.is_some() {
                let missing = (0..SHARDS).filter(|shard| state.leases[*shard].is_none());
                out.extend(missing.map(|shard| Step::MakeLease(worker, shard)));
            }
        }
    }

    fn next_state(&self, before: &Syncing, step: Step) -> Option<Syncing> {
        let mut state = before.clone();
        match step {
            Step::Produce => state.tip += 1,
            Step::Resolve(worker) => {
                let row = StreamRow {
                    name: StreamName::from("orders"),
                    created_at_millis: 1,
                    start: StreamStart::AtTimestamp(state.tip),
                    first_sync_done: false,
                };
                let put = ConditionalWrite::Stream(StreamWrite::Create(row.clone()));
                state.workers[worker] = (Some(row), Some(put));
            }
            Step::Apply(worker) => {
                let put = state.workers[worker].1.clone()?;
                if let Ok(row) = put.apply(state.stream.as_ref()) {
                    state.stream = row;
                }
            }
            Step::MakeLease(worker, shard) => {
                let Some(Row::Stream(stands)) = state.stream.clone() else { return None };
                let mine = state.workers[worker].0.get_or_insert_with(|| stands.clone()).clone();
                let row = goes_by(mine, Some(stands), self.rules);
                let shard_id = ShardId::from(format!("shard-{shard}"));
                let (parents, range) = (BTreeSet::new(), HashKeyRange::FULL);
                let listed = ListedShard { id: shard_id, parents, range };
                let key_of = |shard: &ShardId| LeaseKey::new(shard.as_str());
                let plan = plan_sync(&[listed], &BTreeMap::new(), &row, key_of);
                let write = ConditionalWrite::Lease(plan.creates.into_iter().next()?);
                state.leases[shard] = write.apply(state.leases[shard].as_ref()).ok()?;
            }
            Step::Restart(worker) => state.workers[worker].0 = None,
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always(ONCE, |_, state: &Syncing| {
            let stored = start_of(state.stream.as_ref());
            let starts = state.leases.iter().flatten().map(|row| match row {
                Row::Lease(lease) => lease.checkpoint,
                _ => Checkpoint::Latest,
            });
            starts.into_iter().all(|at| stored.map(Checkpoint::AtTimestamp) == Some(at))
        })];
        // The search for the mutant's shortest trace stops elsewhere if it has more to look for.
        if !self.rules.breaks(Mutant::LatestResolvedTwice) {
            properties.push(Property::sometimes(TWICE, |_, state: &Syncing| {
                let resolved = state.workers.iter().filter_map(|(row, _)| row.as_ref());
                let starts: Vec<_> = resolved.map(|row| &row.start).collect();
                let differ = starts.windows(2).any(|two| two[0] != two[1]);
                differ && state.leases.iter().all(Option::is_some)
            }));
        }
        properties
    }
}

fn start_of(row: Option<&Row>) -> Option<u64> {
    match row {
        Some(Row::Stream(StreamRow { start: StreamStart::AtTimestamp(at), .. })) => Some(*at),
        _ => None,
    }
}
