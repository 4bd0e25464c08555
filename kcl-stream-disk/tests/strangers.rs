//! What is in a folder and not known to it: it is never deleted.

mod common;

use std::fs;
use std::path::Path;

use common::{Hand, create, open, open_with, put, segments, texts};
use kcl_stream_disk::{DiskOptions, DiskStore};
use kcl_stream_local::ShardNumber;

/// Why a folder does not open.
fn refusal(folder: &Path) -> String {
    open_with(folder, &Hand::new(), DiskOptions::default()).unwrap_err().to_string()
}

#[test]
fn a_folder_of_something_else_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("streams/mine");
    fs::create_dir_all(&mine).unwrap();
    fs::write(mine.join("x"), "mine").unwrap();
    let refused = DiskStore::open(folder.path(), DiskOptions::default()).unwrap_err().to_string();
    assert!(refused.contains(mine.to_str().unwrap()), "{refused}");
    assert!(refused.contains("use another folder"), "{refused}");
    assert_eq!(fs::read_to_string(mine.join("x")).unwrap(), "mine");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made there");

    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    fs::write(&lock, "mine").unwrap();
    assert!(refusal(folder.path()).contains("use another folder"));
    assert_eq!(fs::read_to_string(&lock).unwrap(), "mine");
}

#[test]
fn an_unknown_folder_beside_streams_is_refused_and_stays() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    put(&create(&open(folder.path(), &clock), 1), "kept");
    let mine = folder.path().join("streams/mine");
    fs::create_dir_all(&mine).unwrap();
    fs::write(mine.join("x"), "mine").unwrap();
    let refused = refusal(folder.path());
    assert!(refused.contains(mine.to_str().unwrap()), "{refused}");
    assert_eq!(fs::read_to_string(mine.join("x")).unwrap(), "mine");
    fs::rename(&mine, folder.path().join("mine")).unwrap();
    assert_eq!(texts(&open(folder.path(), &clock).stream("orders").unwrap(), 0), ["kept"]);
}

#[test]
fn streams_without_their_metadata_stay_until_it_is_back() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    put(&create(&open(folder.path(), &clock), 1), "kept");
    let (meta, away) = (folder.path().join("meta.redb"), folder.path().join("away"));
    fs::rename(&meta, &away).unwrap();
    let refused = refusal(folder.path());
    assert!(refused.contains("meta.redb") && refused.contains("orders-"), "{refused}");
    assert!(!segments(folder.path()).is_empty());
    fs::rename(&away, &meta).unwrap();
    assert_eq!(texts(&open(folder.path(), &clock).stream("orders").unwrap(), 0), ["kept"]);
}

#[test]
fn older_metadata_deletes_nothing_younger() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let [meta, empty, whole, now] =
        ["meta.redb", "empty", "whole", "now"].map(|name| folder.path().join(name));
    drop(open(folder.path(), &clock));
    fs::copy(&meta, &empty).unwrap();
    put(&create(&open(folder.path(), &clock), 1), "before");
    fs::copy(&meta, &whole).unwrap();
    {
        let stream = open(folder.path(), &clock).stream("orders").unwrap();
        stream.split_shard(&ShardNumber(0).id(), 1 << 127).unwrap();
        put(&stream, "after");
    }
    fs::copy(&meta, &now).unwrap();
    // Before the stream was made, and before its shard was split.
    fs::copy(&empty, &meta).unwrap();
    let refused = refusal(folder.path());
    assert!(refused.contains("orders-") && refused.contains("move it elsewhere"), "{refused}");
    fs::copy(&whole, &meta).unwrap();
    let refused = refusal(folder.path());
    assert!(refused.contains("stream orders") && refused.contains("older"), "{refused}");
    fs::copy(&now, &meta).unwrap();
    let stream = open(folder.path(), &clock).stream("orders").unwrap();
    let all: Vec<_> = (0..3).flat_map(|shard| texts(&stream, shard)).collect();
    assert_eq!(all, ["before", "after"]);
}

#[test]
fn a_deletion_takes_the_files_of_the_stream_alone() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let note = {
        let engine = open(folder.path(), &clock);
        put(&create(&engine, 1), "old");
        let note = segments(folder.path())[0].with_file_name("note.txt");
        fs::write(&note, "mine").unwrap();
        engine.delete_stream("orders").unwrap();
        assert!(engine.list_streams().is_empty());
        note
    };
    let refused = refusal(folder.path());
    assert!(refused.contains(note.to_str().unwrap()), "{refused}");
    assert_eq!(fs::read_to_string(&note).unwrap(), "mine");
    fs::remove_file(&note).unwrap();
    // What a crash leaves of a deletion is known, and goes.
    assert!(open(folder.path(), &clock).list_streams().is_empty());
    assert_eq!(fs::read_dir(folder.path().join("streams")).unwrap().count(), 0);
}
