//! What a crash, a disk or a full disk does to a folder, and what is said of it.

mod common;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use common::{Hand, create, open, open_with, put, segments, texts};
use kcl_stream_disk::DiskOptions;
use kcl_stream_local::{EngineError, NewRecord, ShardNumber};

/// A folder with some records, one frame each, as a killed process leaves it.
fn written(records: u32) -> (tempfile::TempDir, Arc<Hand>) {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let engine = open(folder.path(), &clock);
    let stream = create(&engine, 1);
    for n in 0..records {
        put(&stream, n);
    }
    (folder, clock)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// Opens a copy whose last segment was changed.
fn reopened(
    folder: &Path,
    clock: &Arc<Hand>,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<Vec<String>, String> {
    let changed = tempfile::tempdir().unwrap();
    copy(folder, changed.path());
    let last = segments(changed.path()).pop().unwrap();
    let mut bytes = std::fs::read(&last).unwrap();
    change(&mut bytes);
    std::fs::write(&last, bytes).unwrap();
    let opened = open_with(changed.path(), clock, DiskOptions::default());
    let stream = opened.map_err(|error| error.to_string())?.stream("orders").unwrap();
    let before = texts(&stream, 0);
    put(&stream, "goes on");
    assert_eq!(texts(&stream, 0).len(), before.len() + 1);
    Ok(before)
}

/// Where the frames of a segment begin, and where the last one ends.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let begins = (0..bytes.len()).step_by(16).filter(|at| bytes[*at..].starts_with(b"KCLF"));
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    begins.chain([end]).collect()
}

#[test]
fn a_torn_tail_is_cut_at_every_byte_of_the_last_frame() {
    let (folder, clock) = written(3);
    let bytes = std::fs::read(segments(folder.path()).pop().unwrap()).unwrap();
    let places = frames(&bytes);
    let (last, end) = (places[places.len() - 2], places[places.len() - 1]);
    for cut in last..end {
        // The rest was never written: the file ends, or has the zeros it was reserved with.
        let ends = reopened(folder.path(), &clock, |bytes| bytes.truncate(cut));
        assert_eq!(ends, Ok(vec!["0".into(), "1".into()]), "ends at {cut}");
        let zeros = reopened(folder.path(), &clock, |bytes| bytes[cut..].fill(0));
        assert_eq!(zeros, Ok(vec!["0".into(), "1".into()]), "zeros from {cut}");
        // The front was never written: disks do not write in order.
        let tail = reopened(folder.path(), &clock, |bytes| bytes[last..=cut].fill(0));
        assert_eq!(tail, Ok(vec!["0".into(), "1".into()]), "zeros up to {cut}");
    }
    let whole = reopened(folder.path(), &clock, |_| {});
    assert_eq!(whole, Ok(vec!["0".into(), "1".into(), "2".into()]));
}

#[test]
fn a_flipped_bit_before_the_last_frame_is_named_never_passed_over() {
    let (folder, clock) = written(3);
    let bytes = std::fs::read(segments(folder.path()).pop().unwrap()).unwrap();
    let places = frames(&bytes);
    let last = places[places.len() - 2];
    for at in 0..last {
        let opened = reopened(folder.path(), &clock, |bytes| bytes[at] ^= 1 << (at % 8));
        let error = opened.expect_err("a changed byte was not noticed");
        assert!(error.contains(".seg: ") && error.contains("damaged at byte"), "{at}: {error}");
    }
}

#[test]
fn a_missing_segment_is_named() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    for n in 0..3 {
        let engine = open(folder.path(), &clock);
        let stream = engine.stream("orders").unwrap_or_else(|_| create(&engine, 1));
        put(&stream, n);
    }
    let files = segments(folder.path());
    std::fs::remove_file(&files[files.len() - 2]).unwrap();
    let error = open_with(folder.path(), &clock, DiskOptions::default()).unwrap_err().to_string();
    assert!(error.contains("is missing"), "{error}");
}

#[test]
fn a_failed_sync_stops_the_shard_and_what_was_kept_is_read_on() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let is_full = Arc::new(AtomicBool::new(false));
    let full = Arc::clone(&is_full);
    let options = DiskOptions {
        before_sync: Some(Arc::new(move |_| match full.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        })),
        ..DiskOptions::default()
    };
    let first = {
        let engine = open_with(folder.path(), &clock, options).unwrap();
        let stream = create(&engine, 1);
        let first = put(&stream, "kept");
        is_full.store(true, Ordering::Relaxed);
        let put = |text: &str| stream.put(NewRecord::new("key", text.to_owned()));
        let error = put("unknown").unwrap_err();
        assert!(matches!(error, EngineError::ShardStopped { .. }), "{error}");
        assert!(error.to_string().contains("takes no more records"), "{error}");
        // Not before the folder is opened again, whatever the disk says by then.
        is_full.store(false, Ordering::Relaxed);
        assert!(matches!(put("no"), Err(EngineError::ShardStopped { .. })));
        let many = stream.put_many(vec![NewRecord::new("key", "no")]).unwrap();
        assert_eq!(many.failed_count(), 1);
        let split = stream.split_shard(&ShardNumber(0).id(), 1 << 127);
        assert!(matches!(split, Err(EngineError::ShardStopped { .. })), "{split:?}");
        assert_eq!(texts(&stream, 0), ["kept"]);
        first
    };
    let stream = open(folder.path(), &clock).stream("orders").unwrap();
    assert!(put(&stream, "after") > first);
    let all = texts(&stream, 0);
    // The record nobody was told of may be there or not.
    assert!(all == ["kept", "after"] || all == ["kept", "unknown", "after"], "{all:?}");
}

#[test]
fn a_stream_that_cannot_be_made_is_not_there() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    {
        let options = DiskOptions {
            before_sync: Some(Arc::new(|_| Err(io::ErrorKind::StorageFull.into()))),
            ..DiskOptions::default()
        };
        let engine = open_with(folder.path(), &clock, options).unwrap();
        let made = engine.create_stream("orders", 1, Default::default());
        assert!(matches!(made, Err(EngineError::Store(_))), "{made:?}");
        assert!(engine.list_streams().is_empty());
    }
    assert!(open(folder.path(), &clock).list_streams().is_empty());
    assert_eq!(std::fs::read_dir(folder.path().join("streams")).unwrap().count(), 0);
}

#[test]
fn a_start_writes_the_last_segment_anew_before_it_syncs_it() {
    let (folder, clock) = written(3);
    let last = segments(folder.path()).pop().unwrap();
    let end = frames(&fs::read(&last).unwrap()).pop().unwrap().next_multiple_of(16);
    // There is nothing to cut, and the kernel takes it for written.
    let file = File::options().write(true).open(&last).unwrap();
    file.set_len(end as u64).unwrap();
    file.set_modified(UNIX_EPOCH).unwrap();
    let were_written = Arc::new(Mutex::new(Vec::new()));
    let (asked, seen) = (last.clone(), Arc::clone(&were_written));
    let before_sync = move |path: &Path| {
        if path == asked {
            seen.lock().unwrap().push(path.metadata()?.modified()? > UNIX_EPOCH);
        }
        Ok(())
    };
    let options = DiskOptions { before_sync: Some(Arc::new(before_sync)), ..Default::default() };
    let stream = open_with(folder.path(), &clock, options).unwrap().stream("orders").unwrap();
    assert_eq!(*were_written.lock().unwrap(), [true]);
    assert_eq!(texts(&stream, 0), ["0", "1", "2"]);
}

#[test]
fn a_start_whose_sync_fails_is_none() {
    let (folder, clock) = written(3);
    let last = segments(folder.path()).pop().unwrap();
    let asked = last.clone();
    let before_sync = move |path: &Path| match path == asked {
        true => Err(io::Error::other("no such sector")),
        false => Ok(()),
    };
    let options = DiskOptions { before_sync: Some(Arc::new(before_sync)), ..Default::default() };
    let error = open_with(folder.path(), &clock, options).unwrap_err().to_string();
    assert!(error.contains(last.to_str().unwrap()) && error.contains("no such sector"), "{error}");
}
