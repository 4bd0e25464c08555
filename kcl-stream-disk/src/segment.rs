//! The segment that is being written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::frame::{Frame, Head};
use crate::limits::{FIRST_RESERVE_BYTES, LARGEST_RESERVE_BYTES};
use crate::store::Sync;

/// A file that takes frames.
#[derive(Debug)]
pub(crate) struct Segment {
    file: File,
    path: PathBuf,
    salt: u64,
    number: u64,
    /// Bytes written.
    length: u64,
    /// Bytes of the file; those beyond `length` are zeros.
    reserved: u64,
}

/// The file of a segment.
pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.seg"))
}

impl Segment {
    /// Makes a file with this first frame. It has its name once it is whole and synced.
    pub(crate) fn create(
        folder: &Path,
        head: Head,
        first: &mut Frame,
        sync: &Sync,
    ) -> io::Result<Self> {
        let unfinished = folder.join("next.tmp");
        let file = File::create(&unfinished)?;
        let path = path(folder, head.segment);
        let Head { segment: number, salt, .. } = head;
        let mut made = Self { file, path, salt, number, length: 0, reserved: 0 };
        made.write(&head.encode())?;
        made.write(first.finish(salt, head.first_frame))?;
        made.reserve(FIRST_RESERVE_BYTES)?;
        sync.all(&made.file, &made.path)?;
        std::fs::rename(&unfinished, &made.path)?;
        sync.folder(folder)?;
        Ok(made)
    }

    /// Writes a frame and syncs.
    pub(crate) fn append(&mut self, frame: &mut Frame, number: u64, sync: &Sync) -> io::Result<()> {
        let bytes = frame.finish(self.salt, number);
        if self.length + bytes.len() as u64 > self.reserved {
            let ahead = self.reserved.clamp(FIRST_RESERVE_BYTES, LARGEST_RESERVE_BYTES);
            self.reserve(bytes.len() as u64 + ahead)?;
        }
        self.write(bytes)?;
        sync.data(&self.file, &self.path)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Writes zeros up to this many bytes beyond those written.
    fn reserve(&mut self, ahead: u64) -> io::Result<()> {
        const ZEROS: &[u8] = &[0; 64 << 10];
        self.reserved = self.reserved.max(self.length);
        while self.reserved < self.length + ahead {
            let count = ZEROS.len().min((self.length + ahead - self.reserved) as usize);
            self.file.write_all_at(&ZEROS[..count], self.reserved)?;
            self.reserved += count as u64;
        }
        Ok(())
    }

    /// Gives back what was reserved; every frame was synced.
    pub(crate) fn seal(self) -> io::Result<PathBuf> {
        self.file.set_len(self.length)?;
        Ok(self.path)
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }
    pub(crate) fn length(&self) -> u64 {
        self.length
    }
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
