//! Everything a consumer waits for besides a running call, polled in a fixed order.

use std::task::{Context, Poll};

use kcl_protocol::Checkpoint;
use kcl_protocol::consumer::{Event, State, Step, Then, Validity};

use super::fetcher::Fetched;
use super::runtime::Consumer;
use super::writer::LeaseLost;
use super::{Acks, ConsumerCommand};
use crate::event::EventKind;
use crate::limits::STUCK_AFTER;
use crate::processor::ProcessorError;

/// What came of waiting.
pub(super) enum Heard {
    /// Something for the state machine.
    Event(Event),
    /// Records or acks: look again at what can be done.
    News,
}

impl Consumer {
    /// Everything but a running call. Ready with what changed.
    pub(super) fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if let Poll::Ready(heard) = self.poll_control_heard(cx) {
            return Poll::Ready(heard);
        }
        self.poll_fetch(cx).map(|event| event.map_or(Heard::News, Heard::Event))
    }

    fn poll_control_heard(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        let acks = self.ack_state();
        if let Poll::Ready(event) = self.poll_control(cx) {
            return Poll::Ready(Heard::Event(event));
        }
        // Effects that the writer got decided ack records too, or free them to come again.
        if self.ack_state() != acks || (self.ledger.mode == Acks::Explicit && self.has_room()) {
            return Poll::Ready(Heard::News);
        }
        Poll::Pending
    }

    fn ack_state(&self) -> (Checkpoint, usize, bool) {
        let entries = self.ledger.lock();
        (entries.acks.watermark(), entries.acks.unacked(), entries.gate.is_undecided())
    }

    /// With explicit acks: true if an idle consumer could go on now. A batch to come again waits
    /// until an effect is decided, which is news by itself.
    fn has_room(&self) -> bool {
        self.machine.may_deliver() && !self.is_being_decided() && self.step() != Step::Wait
    }

    /// Commands, the permit, checkpoint writes and timers.
    pub(super) fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.ledger.consumer.register(cx.waker());
        if let Poll::Ready(event) = self.poll_commands(cx) {
            return Poll::Ready(event);
        }
        if let Some(revoked) = &mut self.revoked
            && revoked.as_mut().poll(cx).is_ready()
        {
            self.revoked = None;
            return Poll::Ready(self.lost());
        }
        if self.stop.poll(cx).is_ready() {
            return Poll::Ready(Event::StopTimeout);
        }
        if let Poll::Ready(LeaseLost) = self.writer.poll(cx) {
            self.revoked = None;
            return Poll::Ready(self.lost());
        }
        match self.machine.state() {
            State::Settling(_) => {
                // No new effects: what is on its way is waited for, and nothing else.
                self.ledger.close();
                if !self.writer.is_undecided() {
                    return Poll::Ready(Event::Settled);
                }
            }
            State::Backoff if self.retry.poll(cx).is_ready() => {
                return Poll::Ready(Event::RetryDue);
            }
            State::Suspended | State::Outwaiting(_, Then::GoOn(Validity::Expired))
                if self.poll_granted(cx).is_ready() =>
            {
                return Poll::Ready(Event::Granted);
            }
            _ => {}
        }
        self.poll_stuck(cx)
    }

    fn lost(&mut self) -> Event {
        self.ledger.close();
        self.fetcher.close();
        Event::Lost
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(commands) = &mut self.commands else { return Poll::Pending };
        let Some(command) = std::task::ready!(commands.poll_recv(cx)) else {
            // Nobody is left to command it; the permit and the end of the shard still end it.
            self.commands = None;
            return Poll::Pending;
        };
        Poll::Ready(match command {
            ConsumerCommand::Stop(_) => {
                self.fetcher.close();
                self.stop.set(Some(self.ctx.clock.monotonic() + self.ctx.config.stop_timeout));
                Event::Stop
            }
            ConsumerCommand::Pause => {
                self.report.tell(|lease, fence| EventKind::Paused { lease, fence });
                Event::Pause
            }
            ConsumerCommand::Resume => {
                self.resume();
                Event::Resume
            }
        })
    }

    fn resume(&mut self) {
        self.progressed();
        if self.ledger.lock().parked.take().is_some() {
            self.attempts.reset();
            self.read_anew();
            self.report.tell(|lease, fence| EventKind::Unparked { lease, fence });
        }
        if self.machine.is_paused() {
            self.report.tell(|lease, fence| EventKind::Resumed { lease, fence });
        }
    }

    fn poll_granted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let permit = self.permit.clone();
        let granted = self.granted.get_or_insert_with(|| {
            Box::pin(async move {
                // Loss is told by the permit's own signal.
                if permit.granted().await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        std::task::ready!(granted.as_mut().poll(cx));
        self.granted = None;
        Poll::Ready(())
    }

    /// Work that does not move for long is reported, and given up if so configured.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let has_work = match self.machine.state() {
            State::Calling(_) | State::Outwaiting(..) => true,
            State::Idle => self.ledger.lock().acks.unacked() > 0,
            _ => false,
        };
        if !has_work {
            self.stuck.set(None);
            return Poll::Pending;
        }
        let watermark = self.ledger.lock().acks.watermark();
        if watermark != self.seen {
            self.seen = watermark;
            self.progressed();
        }
        let limit = self.ctx.config.max_progress;
        let patience = limit.unwrap_or(STUCK_AFTER);
        self.stuck.set(Some(self.progress_at + patience));
        std::task::ready!(self.stuck.poll(cx));
        self.progressed();
        self.report.tell(|lease, fence| EventKind::Stuck { lease, fence, idle: patience });
        if limit.is_some() {
            let error = ProcessorError::new(format!("no progress for {patience:?}"));
            self.failure = Some((error, 0));
            Poll::Ready(Event::NoProgress)
        } else {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    /// Reads ahead. Ready with an event, or with nothing but news.
    pub(super) fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if !self.machine.wants_records() {
            return Poll::Pending;
        }
        if let Some(error) = self.fetcher.failure()
            && self.has_nothing_in_hand()
        {
            self.source_error = Some(error.clone());
            return Poll::Ready(Some(Event::SourceFailed));
        }
        match std::task::ready!(self.fetcher.poll(cx)) {
            Fetched::Something => Poll::Ready(None),
            Fetched::Hiccup(error) => {
                let error = error.to_string();
                self.report.tell(|lease, fence| EventKind::ReadFailed { lease, fence, error });
                Poll::Ready(None)
            }
        }
    }

    /// True unless records that were delivered are not done yet.
    fn has_nothing_in_hand(&self) -> bool {
        let is_idle = matches!(self.machine.state(), State::Idle);
        is_idle && self.batch.is_none() && self.ledger.lock().acks.unacked() == 0
    }
}
