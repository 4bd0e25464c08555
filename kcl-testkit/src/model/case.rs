//! A case: one small fleet, what it may do, and what may go wrong.

use std::collections::{BTreeMap, BTreeSet};

use kcl_protocol::moves::Child;
use kcl_protocol::shard_sync::{ListedShard, children_of_dropped};
use kcl_protocol::{
    Checkpoint, Fence, HashKeyRange, Holdings, Lease, LeaseKey, LeaseTiming, Liveness, Moment,
    Mutant, Row, Rules, ShardId, Watch, WorkerId, WorkerRow,
};

use super::data::Run;
use super::shared::Shared;
use super::world::{Left, Seen, TICK, Worker, World};

/// One small fleet, what it may do, and what may go wrong. It is a Stateright model.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Lease durations in ticks, one a worker; 0 is a worker that is valid for ever.
    pub durations: Vec<u32>,
    /// What is taken off a worker's own validity for clocks that run apart, in ticks: as much as
    /// its clock may miss.
    pub slack: u32,
    /// How long the clock runs, in ticks; 0 leaves out time: all workers are valid for ever.
    pub ticks: u64,
    /// How often each thing may happen.
    pub budget: Left,
    /// Workers that watch and fence others.
    pub watchers: Vec<usize>,
    /// Workers that let leases go without being asked.
    pub leavers: Vec<usize>,
    /// An owner holds a second lease, so that it grants an ask; else it refuses.
    pub grants: bool,
    /// Workers that put a row for a lease's owner that has none.
    pub menders: Vec<usize>,
    /// Workers whose heartbeats are answered at once, so that only the others' are slow or lost.
    pub prompt: Vec<usize>,
    /// A supervisor declares a worker dead once its process has ended.
    pub reaps: bool,
    /// Records of the one shard; 0 leaves out delivery and checkpoints.
    pub records: u8,
    /// Who owns which lease at the start.
    pub leases: Vec<Start>,
    /// Shards without a row at the start that end in others.
    pub later: Vec<Start>,
    /// The listings of shards that workers may still go by, each of one moment; none: all shards.
    pub listings: Vec<Vec<&'static str>>,
    /// What is listed once the stream has dropped what it closed long ago.
    pub kept: Vec<&'static str>,
    /// How many requests may be in flight.
    pub pool: usize,
    /// Reads are answered at once.
    pub prompt_reads: bool,
    /// The rule that is broken, if any.
    pub rules: Rules,
    /// Keys of all leases that ever exist.
    pub keys: Vec<LeaseKey>,
    pub(super) ids: Vec<Vec<WorkerId>>,
    pub(super) spare: LeaseKey,
}

/// A lease at the start.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its shard.
    pub shard: &'static str,
    /// The index of its owner.
    pub owner: Option<usize>,
    /// The shards it ends in.
    pub children: Vec<&'static str>,
}

impl Start {
    /// A shard that does not end.
    pub fn lasting(shard: &'static str, owner: Option<usize>) -> Self {
        Self { shard, owner, children: Vec::new() }
    }
}

impl Case {
    /// A fleet in which nothing goes wrong and nothing is done but what later calls add.
    pub fn new(name: &'static str, durations: &[u32], leases: Vec<Start>) -> Self {
        let id = |worker: usize| (0..3).map(|life| Self::drawn(worker, life, Rules::ALL)).collect();
        let mut keys: Vec<_> = leases.iter().map(|lease| LeaseKey::from(lease.shard)).collect();
        for child in leases.iter().flat_map(|lease| &lease.children) {
            let key = LeaseKey::from(*child);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Self {
            name,
            durations: durations.to_vec(),
            slack: 1,
            ticks: 0,
            budget: Left::default(),
            watchers: Vec::new(),
            menders: Vec::new(),
            leavers: (0..durations.len()).collect(),
            grants: true,
            prompt: Vec::new(),
            reaps: false,
            records: 0,
            leases,
            later: Vec::new(),
            listings: Vec::new(),
            kept: Vec::new(),
            pool: 3,
            prompt_reads: true,
            rules: Rules::ALL,
            keys,
            ids: (0..durations.len()).map(id).collect(),
            spare: LeaseKey::from("spare"),
        }
    }
    /// The id of a process's n-th registration.
    pub(super) fn drawn(worker: usize, life: u8, rules: Rules) -> WorkerId {
        let number = worker * 3 + usize::from(life);
        WorkerId::drawn("w", u128::try_from(number).unwrap_or(u128::MAX), rules)
    }
    /// The same case with one rule broken.
    #[must_use]
    pub fn breaking(self, mutant: Mutant) -> Self {
        Self { rules: Rules::breaking(mutant), ..self }
    }
    pub(super) fn breaks(&self, mutant: Mutant) -> bool {
        self.rules.breaks(mutant)
    }
    /// The durations this worker lives by.
    pub fn timing(&self, worker: usize) -> LeaseTiming {
        let forever = 1 << 20;
        let ticks = match self.durations[worker] {
            ticks if ticks > 0 && self.ticks > 0 => ticks,
            _ => forever,
        };
        LeaseTiming {
            duration: TICK * ticks,
            grace: std::time::Duration::ZERO,
            slack: TICK * self.slack,
            drift_parts: u32::MAX,
        }
    }
    /// True if a lease came to another owner than it had at the start, who may act on it.
    pub(super) fn has_moved(&self, world: &World) -> bool {
        let started_with = |key: &LeaseKey| {
            let lease = self.leases.iter().find(|lease| lease.shard == key.as_str());
            lease.and_then(|lease| lease.owner)
        };
        let others = |key: &&LeaseKey| {
            let others = (0..self.ids.len()).filter(|worker| Some(*worker) != started_with(key));
            others.into_iter().any(|worker| world.permits(worker, key))
        };
        self.keys.iter().any(|key| others(&key))
    }
    /// True if somebody may act on a child of which a parent has no row.
    pub(super) fn has_passed_dropped(&self, world: &World) -> bool {
        let acted_on = |key: &LeaseKey| (0..self.ids.len()).any(|it| world.permits(it, key));
        let lacks = |lease: &Lease, parent| world.lease(&lease.key.sibling(parent)).is_none();
        let leases = self.keys.iter().filter_map(|key| world.lease(key));
        let mut leases = leases.filter(|lease| acted_on(&lease.key));
        leases.any(|lease| lease.parents.iter().any(|parent| lacks(lease, parent)))
    }
    pub(super) fn index(&self, key: &LeaseKey) -> u8 {
        let found = self.keys.iter().position(|it| it == key);
        found.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
    }
    /// The shards that follow this one.
    pub(super) fn children(&self, key: &LeaseKey) -> Vec<Child> {
        let shard = self.shards().find(|shard| shard.shard == key.as_str());
        let names = shard.map(|shard| &shard.children[..]).unwrap_or_default();
        let (id, range) = (|name: &&'static str| ShardId::from(*name), HashKeyRange::FULL);
        let child = |name| Child { id: id(name), parents: self.parents(name), range };
        names.iter().map(child).collect()
    }
    fn shards(&self) -> impl Iterator<Item = &Start> {
        self.leases.iter().chain(&self.later)
    }
    fn parents(&self, name: &'static str) -> BTreeSet<ShardId> {
        let parents = self.shards().filter(|shard| shard.children.contains(&name));
        parents.map(|parent| ShardId::from(parent.shard)).collect()
    }
    /// The listings that a worker may go by.
    pub(super) fn listed(&self, world: &World) -> Vec<BTreeSet<ShardId>> {
        if self.listings.is_empty() {
            return vec![self.keys.iter().map(LeaseKey::shard).collect()];
        }
        let kept = self.has_dropped(world).then_some(&self.kept);
        let shards = |names: &Vec<&'static str>| names.iter().copied().map(ShardId::from).collect();
        self.listings.iter().chain(kept).map(shards).collect()
    }
    fn has_dropped(&self, world: &World) -> bool {
        world.left.drops < self.budget.drops
    }
    /// True if the stream dropped this shard before anybody began to read it: nobody ever will.
    pub(super) fn is_unreadable(&self, world: &World, key: &LeaseKey) -> bool {
        let is_kept = self.kept.contains(&key.as_str());
        self.has_dropped(world) && !is_kept && !world.seen.begun.contains(key)
    }
    /// The children of a shard that the stream has dropped, as far as they are listed.
    pub(super) fn children_of_dropped(&self, world: &World, key: &LeaseKey) -> Option<Vec<Child>> {
        if !self.has_dropped(world) {
            return None;
        }
        let (id, range) = (|name: &'static str| ShardId::from(name), HashKeyRange::FULL);
        let shard = |name| ListedShard { id: id(name), parents: self.parents(name), range };
        let listed: Vec<_> = self.kept.iter().copied().map(shard).collect();
        let children = children_of_dropped(&key.shard(), range, &listed)?.into_iter().cloned();
        let child = |ListedShard { id, parents, range }| Child { id, parents, range };
        Some(children.map(child).collect())
    }
    /// Notes that a worker begins to read this shard, where any may be dropped.
    pub(super) fn note_begun(&self, world: &mut World, key: &LeaseKey) {
        if self.budget.drops > 0 && !self.has_dropped(world) {
            world.seen.begun.insert(key.clone());
        }
    }
    pub(super) fn live_at(&self, worker: usize, sent_at: Moment, now: Moment) -> Liveness {
        Liveness::registered(self.timing(worker), sent_at, now).with_rules(self.rules)
    }
    pub(super) fn watch(&self) -> Watch {
        Watch::default().with_rules(self.rules)
    }
    pub(super) fn holdings(&self) -> Holdings {
        Holdings::default().with_rules(self.rules)
    }
    /// The state everything starts from: all workers just registered, leases as given.
    pub(super) fn first(&self) -> World {
        let mut table = BTreeMap::new();
        let mut put = |row: Row| drop(table.insert(row.key(), row));
        let mut workers = Vec::new();
        for (index, ids) in self.ids.iter().enumerate() {
            let mut worker = Worker::new(ids[0].clone());
            let zero = Moment::default();
            worker.lives = 1;
            worker.life = Some(self.live_at(index, zero, zero));
            worker.watch = self.watch();
            worker.holdings = self.holdings();
            put(Row::Worker(WorkerRow::live(worker.id.clone(), self.timing(index))));
            workers.push(Shared::new(worker));
        }
        for start in &self.leases {
            let key = LeaseKey::from(start.shard);
            let mut lease = Lease::unowned(key, Checkpoint::TrimHorizon, HashKeyRange::FULL);
            lease.fence = Fence(1);
            if let Some(owner) = start.owner {
                let worker = &mut workers[owner];
                lease.owner = Some(worker.id.clone());
                worker.holdings.hold(&lease.key, lease.fence);
                if self.grants {
                    // Nobody asks for this one: balance lets go only from two.
                    worker.holdings.hold(&self.spare, Fence(1));
                }
                let run = Run::new(&lease, &worker.id, self);
                worker.runs.insert(lease.key.clone(), run);
            }
            put(Row::Lease(lease));
        }
        let (pool, seen) = (Shared::new(Vec::new()), Shared::new(Seen::default()));
        let table = Shared::new(table);
        let mut world = World { now: 0, table, workers, pool, left: self.budget, seen };
        let owned = self.leases.iter().filter(|lease| lease.owner.is_some());
        owned.for_each(|lease| self.note_begun(&mut world, &LeaseKey::from(lease.shard)));
        world
    }
}
