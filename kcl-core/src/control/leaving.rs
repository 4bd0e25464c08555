//! Leaving on purpose: hand everything over, then say goodbye.

use std::collections::BTreeMap;

use kcl_protocol::assign::plan;
use kcl_protocol::{
    Lease, LeaseKey, Moment, WorkerChange, WorkerCondition, WorkerState, WorkerWrite,
};

use super::ops::{Done, operation};
use super::{After, Control, ScanFor};
use crate::consumer::StopReason;

/// How far a worker is with leaving.
pub(super) struct Leaving {
    since: Moment,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The leases are being read, to find each a new owner.
    Planning,
    /// The consumers are stopping and their leases go out.
    Handing,
    /// The goodbye is being written.
    Parting,
}

impl Control<'_> {
    pub(super) fn leave(&mut self) {
        self.leaving = Some(Leaving { since: self.now(), step: Step::Planning });
        self.write_own(WorkerChange::Draining(true));
        self.scan(ScanFor::Leave);
    }

    fn write_own(&mut self, change: WorkerChange) {
        let write = WorkerWrite::Update {
            id: self.registration.me.clone(),
            when: vec![WorkerCondition::StateIs(WorkerState::Live)],
            change: vec![change],
        };
        self.operations.push(operation(&self.registration, |registration| async move {
            registration.write_worker(write).await?;
            Ok(Done::Nothing)
        }));
    }

    pub(super) fn plan_leaving(&mut self, leases: &BTreeMap<LeaseKey, Lease>) {
        if let Some(leaving) = &mut self.leaving {
            leaving.step = Step::Handing;
        }
        let plan = plan(&self.members(), &self.loads(leases));
        for step in plan.moves {
            if self.consumers.is_running(&step.lease) {
                self.after.entry(step.lease).or_insert(After::Give(step.to, None));
            }
        }
        for key in self.consumers.keys() {
            if self.after.contains_key(&key) {
                self.consumers.stop(&key, StopReason::Shutdown);
            } else {
                self.let_go_of(&key);
            }
        }
    }

    pub(super) fn tend_leaving(&mut self) {
        let quiet = self.consumers.is_empty() && self.operations.is_empty();
        if let Some(leaving) = &mut self.leaving
            && leaving.step == Step::Handing
            && quiet
        {
            leaving.step = Step::Parting;
            self.write_own(WorkerChange::State(WorkerState::Gone));
        }
    }

    pub(super) fn has_left(&self) -> bool {
        let Some(leaving) = &self.leaving else { return false };
        let parted = leaving.step == Step::Parting && self.operations.is_empty();
        let late = self.now().since(leaving.since) >= self.settings.config.shutdown_timeout;
        if late && !parted {
            tracing::warn!("shutdown took too long; what is left moves on by expiry");
        }
        parted || late
    }
}
