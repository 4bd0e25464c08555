//! I/O that fails: what was answered stays true, and the table goes on once it can.

use std::io;
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use kcl_core::protocol::{
    Checkpoint, ConditionalWrite, HashKeyRange, Lease, LeaseKey, LeaseWrite, RowKey,
};
use kcl_core::{Effects, LeaseTable, Scan, TableError};
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{BackendError, StorageBackend};

use super::FileLeaseTable;
use super::kept::Kept;
use crate::LocalEffects;

/// Storage of which some of the operations fail, by their number.
#[derive(Clone, Debug)]
struct Faulty {
    storage: Arc<dyn StorageBackend>,
    came: Arc<AtomicU64>,
    fail: Arc<Mutex<Range<u64>>>,
    /// Beside those, each of the first ones whose number this divides.
    every: u64,
}

/// Of so many operations some fail in any case: after them a test must come to its end.
const FIRST: u64 = 20_000;

impl Faulty {
    fn new(storage: impl StorageBackend) -> Self {
        Self {
            storage: Arc::new(storage),
            came: Arc::default(),
            fail: Arc::default(),
            every: u64::MAX,
        }
    }

    /// In memory, with a lease table in it.
    fn in_memory() -> Self {
        static MADE: OnceLock<Vec<u8>> = OnceLock::new();
        let bytes = MADE.get_or_init(|| {
            let path = fresh_path();
            drop(FileLeaseTable::open(&path).unwrap());
            let bytes = std::fs::read(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            bytes
        });
        let storage = InMemoryBackend::new();
        storage.set_len(bytes.len() as u64).unwrap();
        storage.write(0, bytes).unwrap();
        Self::new(storage)
    }

    /// From now on these fail, counted from here.
    fn fail(&self, which: Range<u64>) {
        let came = self.came.load(Ordering::SeqCst);
        let end = came.saturating_add(which.end);
        *self.fail.lock().unwrap() = came + which.start..end;
    }

    fn has_failed(&self) -> bool {
        self.came.load(Ordering::SeqCst) > self.fail.lock().unwrap().start
    }

    fn next(&self) -> io::Result<()> {
        let number = self.came.fetch_add(1, Ordering::SeqCst);
        let is_one = number < FIRST && (number + 1).is_multiple_of(self.every);
        let fails = is_one || self.fail.lock().unwrap().contains(&number);
        if fails { Err(io::Error::other("injected")) } else { Ok(()) }
    }

    fn table(&self) -> FileLeaseTable {
        FileLeaseTable::on(Path::new("in memory"), Kept::new(self.clone())).unwrap()
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.next()?;
        self.storage.len()
    }
    fn read(&self, start: u64, out: &mut [u8]) -> io::Result<()> {
        self.next()?;
        self.storage.read(start, out)
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.next()?;
        self.storage.set_len(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.next()?;
        self.storage.sync_data()
    }
    fn write(&self, start: u64, data: &[u8]) -> io::Result<()> {
        // Half of it, in whole sectors, as where a disk gets full.
        self.next().or_else(|error| {
            self.storage.write(start, &data[..data.len() / 1024 * 512])?;
            Err(error)
        })?;
        self.storage.write(start, data)
    }
    fn close(&self) -> io::Result<()> {
        self.storage.close()
    }
    fn try_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.storage.try_lock_range(from, to)
    }
    fn unlock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.storage.unlock_range(from, to)
    }
}

fn fresh_path() -> PathBuf {
    std::env::temp_dir().join(format!("kcl-faults-{}.redb", uuid::Uuid::new_v4()))
}

fn key(number: u64) -> LeaseKey {
    LeaseKey::from(format!("shardId-{number:012}"))
}

/// Makes a lease, with an effect of so many bytes.
async fn create(table: &FileLeaseTable, number: u64, bytes: usize) -> Result<(), TableError> {
    let lease = Lease::unowned(key(number), Checkpoint::TrimHorizon, HashKeyRange::FULL);
    let write = ConditionalWrite::Lease(LeaseWrite::Create(lease));
    let effects = LocalEffects::new().put(number.to_string(), vec![number as u8; bytes]);
    let outcome = table.write_with(&write, &Effects::new(effects)).await?;
    assert!(outcome.is_won(), "{number}: {outcome:?}");
    Ok(())
}

async fn is_there(table: &FileLeaseTable, number: u64) -> Result<bool, TableError> {
    Ok(table.read(&RowKey::Lease(key(number))).await?.is_some())
}

/// The leases there; each must have its effect, and no other lease one.
async fn leases(table: &FileLeaseTable, upto: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for number in 0..upto {
        let effect = table.effect(&number.to_string()).await.unwrap();
        assert_eq!(effect.is_some(), is_there(table, number).await.unwrap(), "{number}");
        found.extend(effect.map(|_| number));
    }
    assert_eq!(table.scan(Scan::Leases).await.unwrap().len(), found.len());
    found
}

const WRITES: u64 = 4;
/// Takes 256 KiB of the file, which has 1 MiB at first.
const LARGE: usize = 132_000;

/// Some writes, while so many operations fail from this one on; whether it came to that.
async fn keeps_what_it_answered(first: u64, lasting: u64) -> bool {
    let storage = Faulty::in_memory();
    let length = storage.len().unwrap();
    let table = storage.table();
    create(&table, 0, LARGE).await.unwrap();
    storage.fail(first..first + lasting);
    let mut expected = vec![Some(true)];
    for number in 1..WRITES {
        let said = match create(&table, number, LARGE).await {
            Ok(()) => Some(true),
            Err(TableError::Unavailable(_)) => Some(false),
            Err(TableError::Unknown(_)) => None,
            Err(error) => panic!("{first}, {lasting}: {error}"),
        };
        let found = is_there(&table, number).await.ok();
        let agree = said.is_none() || found.is_none() || said == found;
        assert!(agree, "{first}, {lasting}: {number} was {said:?}, and is {found:?}");
        expected.push(said.or(found));
    }
    let has_failed = storage.has_failed();
    storage.fail(0..0);
    create(&table, WRITES, LARGE).await.unwrap();
    expected.push(Some(true));
    let found = leases(&table, WRITES + 1).await;
    for (number, expected) in (0..).zip(expected) {
        let agree = expected.is_none_or(|expected| expected == found.contains(&number));
        assert!(agree, "{first}, {lasting}: {number} was {expected:?}, of {found:?}");
    }
    drop(table);
    assert_eq!(leases(&storage.table(), WRITES + 1).await, found, "{first}, {lasting}");
    assert!(has_failed || storage.len().unwrap() > length, "the file never grew");
    has_failed
}

/// Each operation alone, and outages from every third on.
#[tokio::test]
async fn wherever_the_disk_fails_what_was_answered_is_true_and_the_next_write_wins() {
    for (lasting, step) in [(1, 1), (12, 3)] {
        let mut first = 0;
        while keeps_what_it_answered(first, lasting).await {
            first += step;
        }
        assert!(first > 30, "only {first} operations");
    }
}

#[tokio::test]
async fn nobody_else_gets_the_file_while_the_disk_is_full() {
    let path = fresh_path();
    drop(FileLeaseTable::open(&path).unwrap());
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let storage = Faulty::new(FileBackend::new(file).unwrap());
    let table = FileLeaseTable::on(&path, Kept::new(storage.clone())).unwrap();
    create(&table, 0, 10).await.unwrap();
    storage.fail(0..u64::MAX);
    for number in 1..4 {
        let error = create(&table, number, 10).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("injected"), "{error}");
        let other = FileLeaseTable::open(&path).err().unwrap();
        assert!(other.to_string().contains("open already"), "{other}");
    }
    storage.fail(0..0);
    assert!(is_there(&table, 0).await.unwrap());
    create(&table, 4, 10).await.unwrap();
    drop(table);
    let table = FileLeaseTable::open(&path).unwrap();
    let found = leases(&table, 5).await;
    assert!(found == [0, 4] || found == [0, 1, 4], "{found:?}");
    drop(table);
    std::fs::remove_file(path).unwrap();
}

/// Makes a lease, however often it takes.
async fn insist(table: &FileLeaseTable, number: u64) {
    loop {
        match create(table, number, 10).await {
            Ok(()) => return,
            Err(TableError::Unknown(_)) => loop {
                match is_there(table, number).await {
                    Ok(true) => return,
                    Ok(false) => break,
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
            },
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_way_when_the_disk_fails_do_no_harm_to_those_after_it() {
    let storage = Faulty { every: 211, ..Faulty::in_memory() };
    let table = storage.table();
    let writers = (0..8).map(|writer| {
        let table = table.clone();
        tokio::spawn(async move {
            for number in 0..20 {
                insist(&table, writer * 20 + number).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    drop(table);
    let table = Faulty { every: u64::MAX, ..storage }.table();
    assert_eq!(leases(&table, 160).await.len(), 160);
}
