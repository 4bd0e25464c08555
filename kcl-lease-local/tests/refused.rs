//! Files that are refused as lease tables: each by name, with what to do, and left as it was.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kcl_core::protocol::{
    Checkpoint, ConditionalWrite, Fence, HashKeyRange, Lease, LeaseChange, LeaseKey, LeaseWrite,
    Row,
};
use kcl_core::{LeaseTable, Scan, TableError};
use kcl_lease_local::FileLeaseTable;

/// A folder that goes with its last use.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("kcl-refused-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
    fn file(&self) -> PathBuf {
        self.0.join("leases.redb")
    }
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// It is refused by name, with this in the reason, and the file stays as it is.
fn refused(path: &Path, why: &str) {
    let before = std::fs::read(path).ok();
    let error = FileLeaseTable::open(path).err().unwrap();
    let TableError::Refused(said) = &error else { panic!("{error:?}") };
    assert!(said.contains(path.to_str().unwrap()) && said.contains(why), "{said}");
    assert_eq!(std::fs::read(path).ok(), before, "{said}");
}

/// A table with leases that were written several times, closed again.
async fn filled(path: &Path) -> Vec<Row> {
    let table = FileLeaseTable::open(path).unwrap();
    for fence in 0..3 {
        let write = |number: u32| {
            let key = LeaseKey::from(format!("shardId-{number:012}"));
            ConditionalWrite::Lease(if fence == 0 {
                let lease = Lease::unowned(key, Checkpoint::TrimHorizon, HashKeyRange::FULL);
                LeaseWrite::Create(lease)
            } else {
                let change = vec![LeaseChange::Fence(Fence(fence))];
                LeaseWrite::Update { key, when: Vec::new(), change }
            })
        };
        let writes: Vec<_> = (0..100).map(write).collect();
        assert!(table.write_all(&writes).await.unwrap().is_won());
    }
    table.scan(Scan::Leases).await.unwrap()
}

#[tokio::test]
async fn a_truncated_file_is_refused_wherever_it_was_cut() {
    let folder = Folder::new();
    filled(&folder.file()).await;
    let whole = std::fs::read(folder.file()).unwrap();
    let pages = (0..whole.len()).step_by(4096).flat_map(|at| [at, at + 1, at + 2047]);
    for length in pages.chain([4, 9, 64, 319, 320, whole.len() - 1]) {
        std::fs::write(folder.file(), &whole[..length.min(whole.len() - 1)]).unwrap();
        refused(&folder.file(), "from a backup");
    }
}

#[tokio::test]
async fn garbage_is_refused_or_lies_where_nothing_was() {
    let folder = Folder::new();
    let rows = filled(&folder.file()).await;
    let whole = std::fs::read(folder.file()).unwrap();
    let (mut refusals, mut harmless) = (0, 0);
    // Every byte of the head, then a piece of each page.
    let places =
        (0..320).map(|at| (at, 1)).chain((512..whole.len() - 64).step_by(1021).map(|at| (at, 64)));
    for (at, count) in places {
        let mut bytes = whole.clone();
        bytes[at..at + count].iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::write(folder.file(), &bytes).unwrap();
        match FileLeaseTable::open(folder.file()) {
            Ok(table) => {
                harmless += 1;
                assert_eq!(table.scan(Scan::Leases).await.unwrap(), rows, "garbage at {at}");
            }
            Err(TableError::Refused(why)) => {
                refusals += 1;
                assert!(why.contains("backup") || why.contains("another path"), "{at}: {why}");
                assert_eq!(std::fs::read(folder.file()).unwrap(), bytes, "{at}: {why}");
            }
            Err(error) => panic!("{at}: {error}"),
        }
    }
    assert!(refusals > 20 && harmless > 0, "{refusals} refused, {harmless} harmless");
}

#[test]
fn an_empty_file_is_refused() {
    let folder = Folder::new();
    std::fs::write(folder.file(), "").unwrap();
    refused(&folder.file(), "remove it");
}

#[test]
fn a_folder_and_a_file_of_other_content_are_refused() {
    let folder = Folder::new();
    refused(&folder.0, "a folder");
    std::fs::write(folder.file(), "carrier,flight\n".repeat(1000)).unwrap();
    refused(&folder.file(), "no redb file");
    refused(&folder.file().join("below"), "check the path");
    refused(&folder.0.join("no such folder").join("leases.redb"), "check the path");
}

#[test]
fn a_redb_file_of_something_else_is_refused_with_the_names_of_its_tables() {
    let folder = Folder::new();
    let other = redb::Database::create(folder.file()).unwrap();
    let change = other.begin_write().unwrap();
    let orders = redb::TableDefinition::<&str, u64>::new("orders");
    change.open_table(orders).unwrap().insert("apples", 2).unwrap();
    change.commit().unwrap();
    drop(other);
    refused(&folder.file(), "orders");
}

#[tokio::test]
async fn a_read_only_file_is_refused() {
    let folder = Folder::new();
    filled(&folder.file()).await;
    let mut permissions = std::fs::metadata(folder.file()).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(folder.file(), permissions).unwrap();
    refused(&folder.file(), "make it writable");
}

const HELD: &str = "KCL_TEST_HOLDS_LEASE_FILE";

/// Starts this very test in another process, which holds the file open until its input ends.
#[test]
fn a_file_open_in_another_process_is_refused_until_that_ends() {
    if let Some(path) = std::env::var_os(HELD) {
        let _table = FileLeaseTable::open(path).unwrap();
        eprintln!("open");
        std::io::stdin().lines().for_each(drop);
        return;
    }
    let folder = Folder::new();
    let name = "a_file_open_in_another_process_is_refused_until_that_ends";
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(HELD, folder.file())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(other.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "open\n");
    refused(&folder.file(), "open already");
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
    FileLeaseTable::open(folder.file()).unwrap();
    assert_eq!(folder.names(), ["leases.redb"], "nothing is left beside it");
}

#[tokio::test]
async fn many_that_make_one_file_at_once_make_one_table() {
    let folder = Folder::new();
    let path = folder.file();
    let made: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || FileLeaseTable::open(path))
        })
        .collect();
    let made: Vec<_> = made.into_iter().map(|made| made.join().unwrap()).collect();
    assert_eq!(made.iter().filter(|table| table.is_ok()).count(), 1);
    assert_eq!(folder.names(), ["leases.redb"], "nothing is left beside it");
}
