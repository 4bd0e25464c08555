//! What others see of a consumer: its status while it runs, and how it ended.

use kcl_protocol::Prepared;
use kcl_protocol::consumer::{Call, State, Why};

use super::lag::Lag;
use super::runtime::Consumer;
use super::{ConsumerState, Exit, ExitReason};
use crate::event::EventKind;
use crate::processor::ProcessorError;
use crate::source::SourceError;

impl Consumer {
    pub(super) fn show(&self) {
        let state = match self.machine.state() {
            _ if self.machine.is_leaving() => ConsumerState::Stopping,
            State::Calling(Call::Initialize) => ConsumerState::Initializing,
            State::Calling(Call::Process) | State::DeadLettering => ConsumerState::Processing,
            State::Calling(Call::End) => ConsumerState::Ending,
            State::Idle if self.machine.is_paused() => ConsumerState::Paused,
            State::Idle => ConsumerState::Waiting,
            State::Backoff => ConsumerState::Retrying,
            State::Parked => ConsumerState::Parked,
            State::Suspended => ConsumerState::Suspended,
            State::Outwaiting(..)
            | State::Calling(Call::Shutdown | Call::LeaseLost)
            | State::Settling(_)
            | State::Done(_) => ConsumerState::Stopping,
        };
        let (lag, delivered) = (self.lag(), self.delivered);
        self.status.send_if_modified(|status| {
            let entries = self.ledger.lock();
            let changed = status.state != state || status.parked != entries.parked;
            if changed {
                status.since = self.ctx.clock.monotonic();
                status.parked.clone_from(&entries.parked);
            }
            (status.state, status.delivered) = (state, delivered);
            (status.lag_millis, status.lag_since) = (lag.measured(), lag.since());
            (status.acked, status.unacked) = (entries.acks.watermark(), entries.acks.unacked());
            changed
        });
    }

    /// Of the batch that is not done, or else of what comes next.
    fn lag(&self) -> Lag {
        let runs = matches!(
            self.machine.state(),
            State::Calling(Call::Process) | State::Outwaiting(Call::Process, _)
        );
        if runs || self.batch.is_some() { self.fetcher.taken_lag() } else { self.fetcher.lag() }
    }

    pub(super) fn exit(&mut self, why: Why) -> Exit {
        let error = self.failure.take().map(|(error, _)| error);
        let error = error.unwrap_or_else(|| ProcessorError::new("no reason given"));
        let reason = match why {
            Why::HandedBack => ExitReason::HandedBack,
            Why::Ended => {
                ExitReason::Ended { children: self.fetcher.ended().unwrap_or_default().to_vec() }
            }
            Why::Lost => ExitReason::Lost,
            Why::Yield => ExitReason::Yield { error },
            Why::StopWorker => ExitReason::StopWorker { error },
            Why::SourceFailed => {
                let unnamed = || SourceError::Unavailable("no reason given".into());
                ExitReason::SourceFailed(self.source_error.take().unwrap_or_else(unnamed))
            }
        };
        // Closed before the watermark is read: no ack may be accepted that the exit leaves out.
        self.ledger.close();
        let (acked, prepared, is_undecided) = {
            let entries = self.ledger.lock();
            let gate = &entries.gate;
            let acked = entries.acks.last_checkpoint(gate.rules());
            let prepared = Prepared::beyond(gate.prepared().cloned(), acked, gate.rules());
            (acked, prepared, gate.is_undecided())
        };
        let word = reason.word();
        self.report.tell(|lease, fence| EventKind::ConsumerStopped {
            lease,
            fence,
            acked,
            reason: word,
        });
        Exit { reason, acked, prepared, is_undecided }
    }
}

impl Drop for Consumer {
    /// However it ends, no checkpointer outlives it. A blocking call that still runs sees the
    /// permit go at its next await point.
    fn drop(&mut self) {
        self.ledger.close();
        if !matches!(self.machine.state(), State::Done(_)) {
            self.permit.revoke();
        }
    }
}
