//! Keeps the streams of the bundled engine in a folder: what was acknowledged is there after the
//! process was killed at any moment, and after the machine went down.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use kcl_core::SystemClock;
//! use kcl_stream_disk::{DiskOptions, DiskStore};
//! use kcl_stream_local::{Engine, EngineError};
//!
//! # fn run() -> Result<(), EngineError> {
//! let store = DiskStore::open("data", DiskOptions::default())?;
//! let engine = Engine::open(Arc::new(SystemClock), Arc::new(store))?;
//! # let _ = engine;
//! # Ok(())
//! # }
//! ```
//!
//! # The folder
//!
//! ```text
//! lock                          held by the process that uses the folder; names it
//! meta.redb                     a row a stream: settings, shards, parents, ends; and the folders
//!                               of streams that are being made or deleted
//! streams/NAME-CREATED/N.seg    the records, all shards of a stream together, in segments
//! ```
//! One journal a stream, not one a shard: one sync serves all shards of a put. All records of a
//! stream have one retention, so that segments expire whole.
//!
//! A folder below `streams` is deleted only if the metadata says that it was being made or deleted
//! when the process ended. The open fails, and names it, if it is not known at all: it may be
//! younger than the metadata, or somebody else's.
//!
//! # One record
//!
//! `Stream::put` hands an [`Entry`](kcl_stream_local::Entry) to the stream's journal under the
//! shard's lock. The journal's one thread takes everything that waits, writes it as one *frame*
//! behind the last one, and calls `fdatasync` once; meanwhile the next frame's entries gather. Then
//! it shows the records to readers and answers the puts. The file holds zeros ahead, so that a sync
//! need not write the file's size. Reads never touch the disk: the records are in memory too, and
//! the stream's `memory_bytes` bounds both.
//!
//! # One failure
//!
//! The process is killed while a frame is written. The next open reads each segment from its front.
//! The frame is not whole (CRC-32), nothing whole is behind it, and it is in the last segment: it
//! was never synced, so nobody was told of it, and it is cut. Anything else that is not whole was
//! synced once and has changed since: the open fails and names file and place, and nothing is
//! skipped. Frames, segments and the counters of each shard are numbered without gaps, so that
//! missing ones are noticed too. Writing goes on in a new segment, which begins with the counters
//! of all shards: old segments can be deleted, and numbers never come again.
//!
//! A sync fails: see [`kcl_stream_local::Store`]. It is not tried again: the kernel may have
//! dropped what it could not write. It may also have kept that in memory and take it for written:
//! the next open reads it, and so writes all of the last segment again before it syncs it.
//!
//! # A reshard
//!
//! The parents' writes are held, their records synced, the stream's row saved with their ends and
//! the children; then all of it is shown at once.

mod folder;
mod frame;
mod journal;
pub mod limits;
mod recover;
mod rows;
mod segment;
mod store;
mod writer;

pub use store::{BeforeSync, DiskOptions, DiskStore};
