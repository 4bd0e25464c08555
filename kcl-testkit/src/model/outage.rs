//! An outage of the table moves nothing, and a worker that hears no answers dies: the rules of
//! [`Liveness`] and [`Watch`] that are about time alone, over many ticks.
//!
//! A worker that can reach the table does at every tick what is due, and is answered at once.

use std::collections::BTreeMap;

use kcl_protocol::{
    Beat, ConditionalWrite, Due, Holdings, LeaseTiming, Liveness, Moment, Mutant, Row, Rules,
    Watch, WorkerId, WorkerRow, WorkerState, liveness,
};
use stateright::{Model, Property};

use super::shared::Shared;
use super::world::TICK;

/// Nobody is fenced because of an outage that all came back from in time.
pub const CALM: &str = "P7 an outage of the table moves nothing";
/// Whoever hears no answers for long is fenced: when the clock stops, and wherever else nothing can
/// happen any more.
pub const HEARD: &str = "P6 a worker that hears no answers is fenced in the end";
/// Not a promise: a fleet in which nobody ever is fenced proves nothing about who must be.
pub const FENCED: &str = "the worker that hears no answers is fenced";
/// Not a promise: an outage that no validity runs out in is easily calm.
pub const AWAY: &str = "an outage lasts until nobody is valid any more";
/// Not a promise: nobody could be fenced if the clock stood still once all are back.
pub const BACK: &str = "all come back from an outage, and time goes on to its end";

/// Workers that watch each other through an outage.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// How many.
    pub workers: usize,
    /// Lease duration in ticks, a multiple of three; slack is one tick.
    pub duration: u32,
    /// When the clock stops.
    pub ticks: u64,
    /// The outage begins before this tick; 0 is no outage, and the answers to the first worker's
    /// heartbeats are all lost.
    pub begins_before: u64,
    /// How long it lasts at most for the first to come back.
    pub longest: u64,
    /// The rule that is broken, if any.
    pub rules: Rules,
}

/// The fleet at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Calm {
    now: u64,
    rows: Shared<BTreeMap<WorkerId, WorkerRow>>,
    members: Vec<Shared<Member>>,
    began: Option<u64>,
    back_by: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Member {
    id: WorkerId,
    life: Liveness,
    watch: Watch,
    is_cut: bool,
}

/// One step of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Time passes.
    Tick,
    /// The outage begins.
    Begin,
    /// This worker reaches the table again.
    Regain(usize),
    /// Sends what is due.
    Send(usize),
    /// Reads all rows.
    Look(usize),
    /// Declares all dead that are overdue.
    Fence(usize),
}

impl Fleet {
    /// An outage.
    pub fn outage(workers: usize, duration: u32, begins_before: u64, longest: u64) -> Self {
        let ticks = begins_before + longest + 4 * u64::from(duration);
        Self { workers, duration, ticks, begins_before, longest, rules: Rules::ALL }
    }
    /// A worker whose heartbeats arrive and whose answers do not.
    pub fn unheard(workers: usize, duration: u32) -> Self {
        let ticks = 5 * u64::from(duration);
        Self { workers, duration, ticks, begins_before: 0, longest: 0, rules: Rules::ALL }
    }
    /// The same with one rule broken.
    #[must_use]
    pub fn breaking(self, mutant: Mutant) -> Self {
        Self { rules: Rules::breaking(mutant), ..self }
    }
    fn timing(&self) -> LeaseTiming {
        let duration = TICK * self.duration;
        let grace = std::time::Duration::ZERO;
        LeaseTiming { duration, grace, slack: TICK, drift_parts: u32::MAX }
    }
    fn is_mute(&self, worker: usize) -> bool {
        self.begins_before == 0 && worker == 0
    }
    fn first(&self) -> Calm {
        let id = |worker| WorkerId::from(format!("w{worker}"));
        let member = |worker: usize| {
            // Their heartbeats are out of step with each other.
            let at = clock(worker as u64);
            Shared::new(Member {
                id: id(worker),
                life: Liveness::registered(self.timing(), at, at).with_rules(self.rules),
                watch: Watch::default().with_rules(self.rules),
                is_cut: false,
            })
        };
        let row = |worker| (id(worker), WorkerRow::live(id(worker), self.timing()));
        Calm {
            now: self.workers as u64,
            rows: Shared::new((0..self.workers).map(row).collect()),
            members: (0..self.workers).map(member).collect(),
            began: None,
            back_by: None,
        }
    }
    /// Nothing is left undone at this tick.
    fn may_tick(&self, calm: &Calm) -> bool {
        let now = clock(calm.now);
        let idle = |member: &Shared<Member>| {
            matches!(member.life.clone().due(now), Due::Nothing(_))
                && (member.is_cut || !is_news(calm, member))
                && (self.begins_before > 0 || !is_overdue(member, now))
        };
        let first = calm.back_by.is_none() && calm.members.iter().any(|it| it.is_cut);
        let late = first && calm.began.is_some_and(|began| calm.now - began >= self.longest);
        let late_others = calm.back_by.is_some_and(|by| calm.now >= by)
            && calm.members.iter().any(|it| it.is_cut);
        calm.now < self.ticks && calm.members.iter().all(idle) && !late && !late_others
    }
    /// Something can still happen.
    fn goes_on(&self, calm: &Calm) -> bool {
        let mut steps = Vec::new();
        self.actions(calm, &mut steps);
        !steps.is_empty()
    }
    fn regain(&self, calm: &mut Calm, worker: usize) {
        let now = clock(calm.now);
        let timing = self.timing();
        let it = &mut *calm.members[worker];
        it.is_cut = false;
        // The promise is about outages that outlast every validity; a shorter one must end for
        // all at the same time. The tick less stands for the round trips of the last one back.
        let spread = match now >= it.life.valid_until() {
            true => timing.take() * 3 - timing.heartbeat() - TICK,
            false => std::time::Duration::ZERO,
        };
        let by = calm.now + u64::try_from(spread.as_nanos()).unwrap_or(0);
        calm.back_by = Some(calm.back_by.map_or(by, |earlier| earlier.min(by)));
    }
    fn send(&self, calm: &mut Calm, worker: usize) {
        let now = clock(calm.now);
        let (cut, mute) = (calm.members[worker].is_cut, self.is_mute(worker));
        let it = &mut *calm.members[worker];
        let due = it.life.due(now);
        it.life.sent(now);
        if due == Due::ReadRow {
            if !cut {
                it.life.read_answered(now);
            }
            return;
        }
        if cut {
            return it.life.beat_unanswered(now);
        }
        let holdings = &mut Holdings::default();
        let write = liveness::heartbeat(self.rules, &it.id, 0, holdings.digest(), []);
        let row = calm.rows.get(&it.id).cloned().map(Row::Worker);
        let applied = ConditionalWrite::Worker(write).apply(row.as_ref());
        let Ok(Some(Row::Worker(row))) = applied else { return };
        calm.rows.insert(row.id.clone(), row.clone());
        if mute {
            return it.life.beat_unanswered(now);
        }
        if let Beat::Valid { gap: true, .. } = it.life.beat_answered(&row, now, now, holdings) {
            it.watch.restart();
        }
    }
    fn fence(&self, calm: &mut Calm, worker: usize) {
        let now = clock(calm.now);
        let it = &mut *calm.members[worker];
        for write in it.watch.fences(&it.id, &it.life, now) {
            let write = ConditionalWrite::Worker(write);
            let rows: Vec<_> = calm.rows.values().cloned().map(Row::Worker).collect();
            for row in rows.into_iter().filter(|row| row.key() == write.key()) {
                if let Ok(Some(Row::Worker(row))) = write.apply(Some(&row)) {
                    calm.rows.insert(row.id.clone(), row);
                }
            }
        }
    }
}

fn clock(ticks: u64) -> Moment {
    Moment::from_nanos(ticks)
}

fn look(calm: &Calm, member: &Member) -> Watch {
    let mut watch = member.watch.clone();
    let others = calm.rows.values().filter(|row| row.id != member.id);
    others.for_each(|row| watch.observe(row, clock(calm.now)));
    watch
}

/// True if a read of all rows would show something new.
fn is_news(calm: &Calm, member: &Member) -> bool {
    look(calm, member) != member.watch
}

fn is_overdue(member: &Member, now: Moment) -> bool {
    !member.watch.clone().fences(&member.id, &member.life, now).is_empty()
}

impl Model for Fleet {
    type State = Calm;
    type Action = Step;

    fn init_states(&self) -> Vec<Calm> {
        vec![self.first()]
    }

    fn actions(&self, calm: &Calm, out: &mut Vec<Step>) {
        let now = clock(calm.now);
        if self.may_tick(calm) {
            out.push(Step::Tick);
        }
        if calm.began.is_none() && calm.now < self.begins_before {
            out.push(Step::Begin);
        }
        for (worker, member) in calm.members.iter().enumerate() {
            if calm.rows.get(&member.id).is_none_or(|row| row.state != WorkerState::Live) {
                continue;
            }
            // An outage as long as a heartbeat is apart from the next, to within their jitter, can
            // cost one worker two and another none. It is left out, see `docs/model.md`.
            let lasted = calm.began.map(|began| calm.now - began);
            let is_odd = calm.back_by.is_none() && lasted == Some(u64::from(self.duration) / 3);
            if member.is_cut && !is_odd {
                out.push(Step::Regain(worker));
            }
            if !matches!(member.life.clone().due(now), Due::Nothing(_)) {
                out.push(Step::Send(worker));
            }
            if !member.is_cut && is_news(calm, member) {
                out.push(Step::Look(worker));
            }
            if !member.is_cut && is_overdue(member, now) {
                out.push(Step::Fence(worker));
            }
        }
    }

    fn next_state(&self, before: &Calm, step: Step) -> Option<Calm> {
        let mut calm = before.clone();
        match step {
            Step::Tick => calm.now += 1,
            Step::Begin => {
                calm.began = Some(calm.now);
                calm.members.iter_mut().for_each(|member| member.is_cut = true);
            }
            Step::Regain(worker) => self.regain(&mut calm, worker),
            Step::Send(worker) => self.send(&mut calm, worker),
            Step::Look(worker) => {
                calm.members[worker].watch = look(before, &before.members[worker]);
            }
            Step::Fence(worker) => self.fence(&mut calm, worker),
        }
        Some(calm)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn is_fenced(calm: &Calm, worker: usize) -> bool {
            let row = calm.rows.get(&calm.members[worker].id);
            row.is_some_and(|row| row.state == WorkerState::Fenced)
        }
        let mut properties = vec![
            Property::always(CALM, |fleet: &Fleet, calm: &Calm| {
                (0..fleet.workers).all(|it| fleet.is_mute(it) || !is_fenced(calm, it))
            }),
            Property::always(HEARD, |fleet: &Fleet, calm: &Calm| {
                let goes_on = || calm.now < fleet.ticks && fleet.goes_on(calm);
                !fleet.is_mute(0) || is_fenced(calm, 0) || goes_on()
            }),
        ];
        if self.is_mute(0) {
            properties.push(Property::sometimes(FENCED, |_, calm: &Calm| is_fenced(calm, 0)));
        } else {
            properties.push(Property::sometimes(AWAY, |_, calm: &Calm| {
                let now = clock(calm.now);
                calm.members.iter().all(|it| it.is_cut && it.life.valid_until() <= now)
            }));
            properties.push(Property::sometimes(BACK, |fleet: &Fleet, calm: &Calm| {
                let all_are_back = calm.members.iter().all(|it| !it.is_cut);
                calm.began.is_some() && all_are_back && calm.now == fleet.ticks
            }));
        }
        properties
    }
}
