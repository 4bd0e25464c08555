//! Who waits for which records: flushes.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// Counts open records between flushes.
#[derive(Debug)]
pub(crate) struct Epochs {
    /// The number of the first.
    first: u64,
    /// Never empty: the last one takes what comes. As many as flushes under way, and one.
    epochs: VecDeque<Epoch>,
}

#[derive(Debug, Default)]
struct Epoch {
    open: usize,
    waiting: Option<oneshot::Sender<()>>,
}

impl Default for Epochs {
    fn default() -> Self {
        Self { first: 0, epochs: [Epoch::default()].into() }
    }
}

impl Epochs {
    /// One more record; returns its epoch.
    pub(crate) fn open(&mut self) -> u64 {
        if let Some(last) = self.epochs.back_mut() {
            last.open += 1;
        }
        self.first + self.epochs.len() as u64 - 1
    }

    /// The fate of a record of this epoch was told.
    pub(crate) fn settle(&mut self, epoch: u64) {
        let at = usize::try_from(epoch.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if let Some(epoch) = self.epochs.get_mut(at) {
            epoch.open = epoch.open.saturating_sub(1);
        }
        self.notify();
    }

    /// Answers once every record opened before is settled.
    pub(crate) fn flush(&mut self, waiting: oneshot::Sender<()>) {
        if let Some(last) = self.epochs.back_mut() {
            last.waiting = Some(waiting);
        }
        self.epochs.push_back(Epoch::default());
        self.notify();
    }

    pub(crate) fn is_flushing(&self) -> bool {
        self.epochs.len() > 1
    }

    fn notify(&mut self) {
        while self.epochs.len() > 1 && self.epochs.front().is_some_and(|epoch| epoch.open == 0) {
            let done = self.epochs.pop_front().and_then(|epoch| epoch.waiting);
            self.first += 1;
            if let Some(done) = done {
                // Who flushed may have gone.
                let _ = done.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_waits_for_what_came_before_it_and_for_nothing_else() {
        let mut epochs = Epochs::default();
        let (first, second) = (epochs.open(), epochs.open());
        let (done, mut flushed) = oneshot::channel();
        epochs.flush(done);
        let later = epochs.open();
        let (done, mut flushed_later) = oneshot::channel();
        epochs.flush(done);
        epochs.settle(later);
        epochs.settle(second);
        assert!(flushed.try_recv().is_err() && epochs.is_flushing());
        assert!(flushed_later.try_recv().is_err(), "what came before it is open");
        epochs.settle(first);
        assert!(flushed.try_recv().is_ok() && flushed_later.try_recv().is_ok());
        assert!(!epochs.is_flushing());
        let (done, mut flushed) = oneshot::channel();
        epochs.flush(done);
        assert!(flushed.try_recv().is_ok(), "nothing is open");
    }
}
