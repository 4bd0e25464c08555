//! Reads the segments of a stream back.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kcl_stream_local::{SavedBatch, SavedLog, ShardNumber, StoreError};

use crate::frame::{End, Found, HEAD, Head, Part, any_frame_after, frame_at, parts};
use crate::segment::path;
use crate::store::Sync;

/// What the segments of a stream hold.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) logs: BTreeMap<ShardNumber, SavedLog>,
    /// Oldest first. The last one is cut to its whole frames.
    pub(crate) sealed: VecDeque<Sealed>,
    pub(crate) next_segment: u64,
    pub(crate) next_frame: u64,
}

/// A segment that takes no more frames.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) path: PathBuf,
    /// Of its last record (Unix milliseconds); 0 without records.
    pub(crate) last_arrival_millis: u64,
}

fn failed(path: &Path, what: impl std::fmt::Display) -> StoreError {
    StoreError(format!("{}: {what}", path.display()))
}

fn damaged(path: &Path, at: usize, what: &str) -> StoreError {
    let remedy = "the disk has changed what was synced; restore the folder from a copy";
    failed(path, format!("damaged at byte {at}: {what}: {remedy}"))
}

/// Reads all segments in this folder, and cuts what a crash left half written.
pub(crate) fn recover(
    folder: &Path,
    stream_created: u64,
    sync: &Sync,
) -> Result<Recovered, StoreError> {
    let numbers = numbers(folder)?;
    let mut found = Recovered::default();
    for (index, number) in numbers.iter().enumerate() {
        let path = path(folder, *number);
        if index > 0 && *number != found.next_segment {
            let missing = found.next_segment;
            return Err(failed(&path, format!("segment {missing} before it is missing")));
        }
        let is_last = index + 1 == numbers.len();
        let (file, end) = read(&mut found, &path, *number, (index == 0, is_last), stream_created)?;
        if is_last {
            rewrite(&path, &file[..end], sync).map_err(|error| failed(&path, error))?;
        }
    }
    Ok(found)
}

/// The numbers of the segments here. What never got its name is removed.
fn numbers(folder: &Path) -> Result<Vec<u64>, StoreError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".tmp") {
            fs::remove_file(&path).map_err(|error| failed(&path, error))?;
            continue;
        }
        let number = name.strip_suffix(".seg").and_then(|digits| digits.parse().ok());
        numbers.push(number.ok_or_else(|| failed(&path, "is no segment: move it elsewhere"))?);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Cuts a segment to these bytes, and writes them anew: if the last sync of the process before
/// failed, the kernel has them in memory, takes them for written, and no further sync writes them.
fn rewrite(path: &Path, kept: &[u8], sync: &Sync) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.write_all_at(kept, 0)?;
    if file.metadata()?.len() != kept.len() as u64 {
        file.set_len(kept.len() as u64)?;
    }
    sync.all(&file, path)
}

/// Reads a segment; returns its bytes, and where its whole frames end.
fn read(
    found: &mut Recovered,
    path: &Path,
    number: u64,
    (is_first, is_last): (bool, bool),
    stream_created: u64,
) -> Result<(Vec<u8>, usize), StoreError> {
    let file = fs::read(path).map_err(|error| failed(path, error))?;
    let head = Head::decode(&file).ok_or_else(|| damaged(path, 0, "no head of a segment"))?;
    if (head.segment, head.stream_created) != (number, stream_created) {
        return Err(failed(path, "is a segment of another place: put it back there"));
    }
    if is_first {
        found.next_frame = head.first_frame;
    } else if head.first_frame != found.next_frame {
        return Err(damaged(path, 0, "frames before it are missing"));
    }
    let (mut at, mut last_arrival_millis) = (HEAD, 0);
    loop {
        match frame_at(&file, at, head.salt, found.next_frame) {
            Found::Frame { payload, end } => {
                let parts = parts(payload).ok_or_else(|| damaged(path, at, "unknown contents"))?;
                let arrival = take(found, parts).map_err(|what| damaged(path, at, &what))?;
                last_arrival_millis = arrival.max(last_arrival_millis);
                found.next_frame += 1;
                at = end;
            }
            Found::End => break,
            Found::Bad if is_last && !any_frame_after(&file, at, head.salt) => {
                let bytes = file.len() - at;
                tracing::warn!(file = %path.display(), at, bytes, "cut what a crash left unsynced");
                break;
            }
            Found::Bad => return Err(damaged(path, at, "a bad frame before whole ones")),
        }
    }
    found.next_segment = number + 1;
    found.sealed.push_back(Sealed { path: path.to_owned(), last_arrival_millis });
    Ok((file, at))
}

/// Adds the parts of a frame; returns the last arrival of a record in it.
fn take(found: &mut Recovered, parts: Vec<Part>) -> Result<u64, String> {
    let mut last = 0;
    for part in parts {
        match part {
            Part::State { shard, end } => match found.logs.get(&shard) {
                Some(log) if log.next != end.next => {
                    return Err(format!("{shard} is at {}, not at {}", end.next, log.next));
                }
                Some(_) => {}
                None => {
                    let End { next, last_arrival_millis } = end;
                    let log = SavedLog { next, last_arrival_millis, ..SavedLog::default() };
                    found.logs.insert(shard, log);
                }
            },
            Part::Records { shard, first, arrival_millis, records } => {
                let log = found
                    .logs
                    .entry(shard)
                    .or_insert_with(|| SavedLog { next: 1, ..SavedLog::default() });
                if log.next != first {
                    return Err(format!("{shard} goes on with {first}, not with {}", log.next));
                }
                log.next += records.len() as u64;
                log.last_arrival_millis = arrival_millis;
                last = arrival_millis.max(last);
                log.batches.push(SavedBatch { arrival_millis, records });
            }
        }
    }
    Ok(last)
}
