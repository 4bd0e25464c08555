//! Accepting a lease table that is a copy: restored from a backup, or made again under its name.

use kcl_protocol::limits::GENERATIONS_AT_ONCE;
use kcl_protocol::{CasOutcome, ConditionalWrite, Row, RowKey, TableRow, TableWrite};

use crate::config::Config;
use crate::registration::check_schema;
use crate::scheduler::WorkerError;
use crate::table::{LeaseTable, TableError};

/// What accepting a table came to, with its row as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It was bound to the id that the store reports; nothing was changed.
    NotNeeded(TableRow),
    /// It is bound to that id now, in a new generation: fences go on above all earlier ones.
    Accepted(TableRow),
}

impl Config {
    /// Accepts a lease table whose id is not the one it is bound to, so that workers start on it
    /// again. Its rows may be older than what the application has done since: records come again
    /// from the checkpoints in them.
    ///
    /// `above` is the generation of the table that this one replaces, where that is known: a
    /// backup may be older than the last acceptance or reset, and fences must end up above those
    /// given out since.
    ///
    /// Rows of former workers still read live; so this watches them for as long as the protocol
    /// asks (a little over a lease duration), and declares dead those that stand still.
    ///
    /// # Errors
    /// [`WorkerError::StillRunning`] names the workers that live; nothing is changed then.
    /// [`WorkerError::Table`] if no worker ever used the table, its schema is another version's,
    /// or `above` is out of reach. After any other error: call it again, it goes on where it
    /// stopped.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn accept_restored(
        &self,
        table: &dyn LeaseTable,
        above: Option<u64>,
    ) -> Result<Acceptance, WorkerError> {
        let table_id = table.prepare().await.map_err(WorkerError::Table)?;
        let mut row = table_row(table).await.map_err(WorkerError::Table)?;
        let needed = u64::from(row.table_id != table_id);
        let target =
            (row.generation + needed).max(above.map_or(0, |above| above.saturating_add(1)));
        if row.table_id == table_id && row.generation >= target {
            return Ok(Acceptance::NotNeeded(row));
        }
        if target - row.generation > GENERATIONS_AT_ONCE {
            return Err(refused(format!(
                "generation {target} is out of reach from {}: a generation is one reset or one \
                 acceptance, so {GENERATIONS_AT_ONCE} more than in the backup is a mistake",
                row.generation
            )));
        }
        self.require_nobody(table).await?;
        while row.generation < target {
            // The id with the last step: until then the table is refused, and can be accepted.
            let is_last = row.generation + 1 == target;
            let id = if is_last { table_id.clone() } else { row.table_id.clone() };
            let step = TableWrite::NextGeneration { seen: row.generation, table_id: id };
            match table.write(&ConditionalWrite::Table(step)).await.map_err(WorkerError::Table)? {
                CasOutcome::Won(Some(Row::Table(next))) => row = next,
                _ => return Err(refused("its table row changed meanwhile: look again".into())),
            }
        }
        Ok(Acceptance::Accepted(row))
    }
}

fn refused(why: String) -> WorkerError {
    WorkerError::Table(TableError::Refused(why))
}

async fn table_row(table: &dyn LeaseTable) -> Result<TableRow, TableError> {
    let Some(Row::Table(row)) = table.read(&RowKey::Table).await? else {
        let why = "it has no table row, so no worker ever used it: there is nothing to accept";
        return Err(TableError::Refused(why.into()));
    };
    check_schema(&row)?;
    Ok(row)
}
