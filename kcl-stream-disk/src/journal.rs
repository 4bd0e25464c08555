//! The journal of one stream: a queue and the thread that writes what is in it.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use kcl_stream_local::{Entry, Journal};

use crate::folder::Held;
use crate::limits::{BATCH_BYTES, QUEUE_BYTES};
use crate::writer::Writer;

/// Takes entries; its thread ends when it is dropped.
#[derive(Debug)]
pub(crate) struct DiskJournal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Bytes in the queue.
    bytes: AtomicUsize,
}

/// Bounded by [`QUEUE_BYTES`], past which puts are refused, and one put each of those already in.
#[derive(Debug, Default)]
struct Queue {
    entries: Vec<Entry>,
    horizon_millis: Option<u64>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The stream is no longer used: write what there is, and end.
    Closing,
    /// Nothing is written any more.
    Ended,
}

/// Bytes an entry takes, about.
fn weight(entry: &Entry) -> usize {
    entry.bytes() + 8 * entry.records().len() + 32
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work: entries to write at once, and how far to delete. `None` at the end.
    fn next(&self) -> Option<(Vec<Entry>, Option<u64>)> {
        let mut queue = self.queue();
        while queue.entries.is_empty() && queue.horizon_millis.is_none() {
            if queue.state != State::Open {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        let beyond = queue.entries.iter().position(|entry| {
            bytes += weight(entry);
            bytes > BATCH_BYTES
        });
        // At least one, and in the order of the queue.
        let count = beyond.map_or(queue.entries.len(), |beyond| beyond.max(1));
        let rest = queue.entries.split_off(count);
        let batch = mem::replace(&mut queue.entries, rest);
        self.bytes.fetch_sub(batch.iter().map(weight).sum(), Ordering::Relaxed);
        Some((batch, queue.horizon_millis.take()))
    }
}

impl DiskJournal {
    /// Starts the thread. It keeps `held`, so that the store is not opened elsewhere meanwhile.
    pub(crate) fn start(name: &str, writer: Writer, held: Held) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ends = EndsQueue(Arc::clone(&shared));
        // Names of threads have 15 bytes; the front of the stream's name is its more telling part.
        let thread =
            std::thread::Builder::new().name(format!("kcl-disk {name}")).spawn(move || {
                let (ends, _held) = (ends, held);
                run(&ends.0, writer);
            })?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

fn run(shared: &Shared, mut writer: Writer) {
    while let Some((entries, horizon)) = shared.next() {
        let done = writer.write(&entries);
        if let Err(error) = done {
            let file = writer.active_path().display();
            tracing::error!(%file, %error, "a write failed: the stream takes no more records");
            return;
        }
        entries.into_iter().for_each(Entry::keep);
        if let Some(horizon_millis) = horizon
            && let Err(error) = writer.expire(horizon_millis)
        {
            tracing::error!(%error, "expired segments stay: the stream takes no more records");
            return;
        }
    }
}

/// However the thread ends: who waits is answered, and nothing more is taken.
struct EndsQueue(Arc<Shared>);

impl Drop for EndsQueue {
    fn drop(&mut self) {
        let left = {
            let mut queue = self.0.queue();
            queue.state = State::Ended;
            mem::take(&mut queue.entries)
        };
        // Not under the lock: they stop their shards, and shards come here under theirs.
        drop(left);
    }
}

impl Journal for DiskJournal {
    fn append(&self, entry: Entry) -> Result<(), Entry> {
        let mut queue = self.shared.queue();
        if queue.state != State::Open {
            return Err(entry);
        }
        self.shared.bytes.fetch_add(weight(&entry), Ordering::Relaxed);
        queue.entries.push(entry);
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    fn is_behind(&self) -> bool {
        self.shared.bytes.load(Ordering::Relaxed) > QUEUE_BYTES
    }

    fn expire(&self, horizon_millis: u64) {
        self.shared.queue().horizon_millis = Some(horizon_millis);
        self.shared.changed.notify_one();
    }
}

impl Drop for DiskJournal {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        if queue.state == State::Open {
            queue.state = State::Closing;
        }
        drop(queue);
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has ended by a panic at most, which was reported where it happened.
            let _ = thread.join();
        }
    }
}
