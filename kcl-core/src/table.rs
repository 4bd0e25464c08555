//! The lease table: the one thing workers share.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kcl_protocol::{CasOutcome, ConditionalWrite, Row, RowKey};

/// Which rows a scan returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scan {
    /// The table row, the stream rows and the worker rows: a few per worker.
    Coordination,
    /// The lease rows.
    Leases,
}

/// A store of rows with compare-and-set.
///
/// Every implementation passes the suite in `kcl_testkit::conformance`. Methods may be called from
/// several tasks at once. None retries: retries belong to the caller.
///
/// # Cancel safety
/// Dropping a read loses nothing. Dropping a write leaves its outcome unknown, as a lost reply
/// does.
#[async_trait]
pub trait LeaseTable: Send + Sync + 'static {
    /// Checks that the table can be used (making it only if so configured) and returns its id as
    /// the store itself reports it. Idempotent.
    ///
    /// # Errors
    /// [`TableError::Refused`] names what is missing or foreign.
    async fn prepare(&self) -> Result<String, TableError>;

    /// All rows in scope, in the order of their keys. Each row is strongly consistent: it is not
    /// older than the call. Rows of different keys may be of different moments.
    ///
    /// # Errors
    /// [`TableError::BadRow`] names a row that does not decode.
    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError>;

    /// One row, strongly consistent; `None` if there is none.
    ///
    /// # Errors
    /// As for [`LeaseTable::scan`].
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError>;

    /// Applies one conditional write atomically.
    ///
    /// # Errors
    /// [`TableError::Unknown`] if it may have applied, or may still: read before acting.
    /// Every other error means that it did not and will not.
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError>;

    /// Applies several writes atomically: all or none. At most
    /// [`kcl_protocol::limits::WRITES_PER_TRANSACTION`], keys distinct.
    ///
    /// # Errors
    /// As for [`LeaseTable::write`]; [`TableError::Refused`] for too many or repeated keys.
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError>;

    /// True if [`LeaseTable::write_with`] works. Asked once, when a scheduler is built.
    fn supports_effects(&self) -> bool {
        false
    }

    /// Applies a write together with writes of the user's own, all or none.
    ///
    /// # Errors
    /// [`TableError::Refused`] if the store has no such transactions or the effects are not of
    /// its kind; otherwise as for [`LeaseTable::write`].
    async fn write_with(
        &self,
        write: &ConditionalWrite,
        effects: &Effects,
    ) -> Result<CasOutcome, TableError> {
        let _ = (write, effects);
        Err(TableError::Refused("this lease table has no transactions with user effects".into()))
    }
}

/// Writes of the user's own that go into one transaction with a checkpoint. What is inside is
/// between the user and the lease table; each table documents the type it takes.
#[derive(Clone)]
pub struct Effects(Arc<dyn Any + Send + Sync>);

impl Effects {
    /// Wraps effects of a table's kind.
    pub fn new<T: Any + Send + Sync>(effects: T) -> Self {
        Self(Arc::new(effects))
    }
    /// The effects, if they are of this kind.
    pub fn downcast<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Effects(..)")
    }
}

/// Why a lease table did not answer. Losing a compare-and-set is not among them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The reply was lost: the write may have applied, or may still apply.
    #[error("no reply from the lease table; the request may have applied: {0}")]
    Unknown(String),
    /// The table asks for fewer requests; this one did not apply.
    #[error("the lease table is throttled; nothing was applied")]
    Throttled,
    /// A transaction of somebody else's held the row; this one did not apply.
    #[error("another transaction held the row; nothing was applied")]
    Conflict,
    /// The table cannot be reached; this request did not apply.
    #[error("the lease table is unavailable: {0}")]
    Unavailable(String),
    /// A row does not decode; nobody acts on it until a person has looked.
    #[error("row {key:?} of the lease table does not decode: {reason}")]
    BadRow {
        /// The row's key, as stored.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The request or the table is wrong, and will be next time.
    #[error("refused by the lease table: {0}")]
    Refused(String),
}

impl TableError {
    /// True if the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::BadRow { .. } | Self::Refused(_))
    }
    /// True if the write behind it may have applied.
    pub fn may_have_applied(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}
