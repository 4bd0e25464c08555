//! A file under changes that stay in memory.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

use super::kept::Kept;

/// Bytes of the pieces in which changes are kept.
const BLOCK: usize = 4096;

type Block = Box<[u8; BLOCK]>;

/// Storage that reads a file and keeps what is written to it in memory. redb repairs what it
/// opens; a file that is only being checked must stay as it is.
#[derive(Debug)]
pub(super) struct Overlay {
    file: Kept,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    length: u64,
    /// How much of the file still shows; zeros follow.
    shows: u64,
    blocks: BTreeMap<u64, Block>,
}

impl Overlay {
    pub(super) fn new(file: Kept) -> io::Result<Self> {
        let length = file.len()?;
        let changes = Changes { length, shows: length, blocks: BTreeMap::new() };
        Ok(Self { file, changes: Mutex::new(changes) })
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as it stands, before any change to it.
    fn original(&self, shows: u64, number: u64) -> io::Result<Block> {
        let mut block: Block = Box::new([0; BLOCK]);
        let start = number * BLOCK as u64;
        // At most BLOCK, so it fits.
        let there = shows.saturating_sub(start).min(BLOCK as u64) as usize;
        if there > 0 {
            self.file.read(start, &mut block[..there])?;
        }
        Ok(block)
    }
}

/// The blocks of a range of bytes: number, first byte within the block, how many.
fn blocks(start: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = start + length as u64;
    let mut at = start;
    std::iter::from_fn(move || {
        let within = (at % BLOCK as u64) as usize;
        let count = (BLOCK - within).min((end - at) as usize);
        let piece = (at / BLOCK as u64, within, count);
        at += count as u64;
        (count > 0).then_some(piece)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().length)
    }

    fn read(&self, start: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        if start.checked_add(out.len() as u64).is_none_or(|end| end > changes.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = &mut *out;
        for (number, within, count) in blocks(start, rest.len()) {
            let (piece, after) = rest.split_at_mut(count);
            match changes.blocks.get(&number) {
                Some(block) => piece.copy_from_slice(&block[within..within + count]),
                None => {
                    let block = self.original(changes.shows, number)?;
                    piece.copy_from_slice(&block[within..within + count]);
                }
            }
            rest = after;
        }
        Ok(())
    }

    fn write(&self, start: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        let mut rest = data;
        for (number, within, count) in blocks(start, data.len()) {
            let (piece, after) = rest.split_at(count);
            let mut block = match changes.blocks.remove(&number) {
                Some(block) => block,
                None => self.original(changes.shows, number)?,
            };
            block[within..within + count].copy_from_slice(piece);
            changes.blocks.insert(number, block);
            rest = after;
        }
        changes.length = changes.length.max(start + data.len() as u64);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut changes = self.changes();
        changes.shows = changes.shows.min(length);
        let (last, kept) = (length / BLOCK as u64, (length % BLOCK as u64) as usize);
        changes.blocks.split_off(&(last + 1));
        if let Some(block) = changes.blocks.get_mut(&last) {
            block[kept..].fill(0);
        }
        changes.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(from, to)
    }

    fn unlock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(from, to)
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::FileBackend;

    use super::*;

    /// The same random reads, writes and changes of length as on a plain list of bytes.
    #[test]
    fn it_reads_like_a_list_of_bytes_and_leaves_the_file_alone() {
        let path = std::env::temp_dir().join(format!("kcl-overlay-{}", uuid::Uuid::new_v4()));
        let mut bytes: Vec<u8> = (0..20_000_u32).map(|number| number as u8 | 1).collect();
        let before = bytes.clone();
        std::fs::write(&path, &bytes).unwrap();
        let file = FileBackend::new(std::fs::File::open(&path).unwrap()).unwrap();
        let overlay = Overlay::new(Kept::new(file)).unwrap();
        let mut state = 7_u64;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for round in 0..2000 {
            if draw(10) == 0 {
                let length = draw(30_000);
                bytes.resize(length, 0);
                overlay.set_len(length as u64).unwrap();
            }
            let start = draw(bytes.len() + 1);
            let count = draw(bytes.len() - start + 1).min(10_000);
            let data = vec![round as u8; count / 2];
            bytes[start..start + data.len()].copy_from_slice(&data);
            overlay.write(start as u64, &data).unwrap();
            let mut out = vec![0; count];
            overlay.read(start as u64, &mut out).unwrap();
            assert_eq!(out, bytes[start..start + count]);
            assert_eq!(overlay.len().unwrap(), bytes.len() as u64);
        }
        let past = overlay.read(bytes.len() as u64, &mut [0]).unwrap_err();
        assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::remove_file(path).unwrap();
    }
}
