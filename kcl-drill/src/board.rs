//! What the live view shows of a drill beyond what the workers say themselves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::NOTES_SHOWN;

/// Clones are the same board.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Notes>>);

#[derive(Clone, Default)]
pub(crate) struct Notes {
    pub scenario: String,
    pub round: u32,
    pub rounds: u32,
    pub invalid: usize,
    /// Each worker, and whether it is frozen.
    pub fleet: Vec<(String, bool)>,
    /// What was done last.
    pub said: Vec<String>,
}

impl Board {
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub fn fleet_is(&self, fleet: Vec<(String, bool)>) {
        self.notes().fleet = fleet;
    }
    pub fn says(&self, what: String) {
        let mut notes = self.notes();
        notes.said.push(what);
        let old = notes.said.len().saturating_sub(NOTES_SHOWN);
        notes.said.drain(..old);
    }
}
