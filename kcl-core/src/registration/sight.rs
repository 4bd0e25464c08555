//! What a worker makes of the others' rows where it cannot read them all.

use std::sync::Arc;

use kcl_protocol::{WorkerId, WorkerRow};

use super::{Registration, View, locked};
use crate::event::EventKind;
use crate::table::TableError;

impl Registration {
    /// The rows of the workers were read: the view has them.
    pub(crate) fn looked(&self, change: impl FnOnce(&mut View)) {
        locked(&self.unreadable).take();
        self.change_view(|view| {
            view.scanned = true;
            view.undecodable.clear();
            change(view);
        });
    }
    /// They could not be read. What trying again does not mend is told, once.
    pub(crate) fn cannot_look(&self, error: TableError) {
        tracing::warn!(%error, "the worker rows cannot be read");
        if error.is_transient() {
            return;
        }
        let told = locked(&self.unreadable).replace(error.clone());
        if told.as_ref() != Some(&error) {
            self.observe(EventKind::WorkersUnreadable { error: error.to_string() });
            self.news.notify_one();
        }
    }

    /// Why this worker will never see the others, if it has not yet.
    pub(crate) fn never_sees(&self) -> Option<TableError> {
        locked(&self.unreadable).clone().filter(|_| !locked(&self.view).scanned)
    }
    /// False from a scan that failed for good to the next that does not: the view may be old.
    pub(crate) fn sees_all(&self) -> bool {
        locked(&self.unreadable).is_none()
    }

    /// A worker's row does not decode. It stays in the view, as one that is absent would be looked
    /// for; but nobody can know whether it lives, so it gets nothing until its row is read again.
    pub(crate) fn cannot_read(&self, id: &WorkerId) {
        self.change_view(|view| {
            view.undecodable.insert(id.clone());
            if let Some(row) = Arc::make_mut(&mut view.workers).get_mut(id) {
                row.draining = true;
            }
        });
    }
    /// True if a worker's row did not decode when it was last read.
    pub(crate) fn is_undecodable(&self, id: &WorkerId) -> bool {
        locked(&self.view).undecodable.contains(id)
    }
    /// A worker's row as a read of its own showed it, apart from any scan.
    pub(crate) fn saw(&self, row: WorkerRow) {
        self.change_view(|view| {
            view.undecodable.remove(&row.id);
            Arc::make_mut(&mut view.workers).insert(row.id.clone(), row);
        });
    }
}
