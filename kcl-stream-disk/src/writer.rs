//! Writes the segments of one stream.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::PathBuf;

use kcl_stream_local::{Entry, ShardNumber};

use crate::frame::{End, Frame, Head};
use crate::limits::SEGMENT_MILLIS;
use crate::recover::{Recovered, Sealed};
use crate::segment::Segment;
use crate::store::Sync;

/// The files of a stream, in the hands of the one thread that writes them.
#[derive(Debug)]
pub(crate) struct Writer {
    folder: PathBuf,
    stream_created: u64,
    segment_bytes: u64,
    sync: Sync,
    active: Segment,
    /// Arrivals of the first and the last record of the active segment (Unix milliseconds).
    arrivals: Option<(u64, u64)>,
    sealed: VecDeque<Sealed>,
    ends: BTreeMap<ShardNumber, End>,
    next_frame: u64,
    frame: Frame,
}

impl Writer {
    /// Goes on behind what was recovered, in a new segment.
    pub(crate) fn new(
        folder: PathBuf,
        stream_created: u64,
        segment_bytes: u64,
        sync: Sync,
        recovered: &mut Recovered,
    ) -> io::Result<Self> {
        let ends = recovered.logs.iter().map(|(shard, log)| {
            let (next, last_arrival_millis) = (log.next, log.last_arrival_millis);
            (*shard, End { next, last_arrival_millis })
        });
        let ends: BTreeMap<_, _> = ends.collect();
        let sealed = std::mem::take(&mut recovered.sealed);
        let first_frame = recovered.next_frame;
        let head =
            Head { segment: recovered.next_segment, first_frame, salt: salt(), stream_created };
        let mut frame = Frame::default();
        state(&mut frame, &ends);
        let active = Segment::create(&folder, head, &mut frame, &sync)?;
        let next_frame = first_frame + 1;
        let arrivals = None;
        Ok(Self {
            folder,
            stream_created,
            segment_bytes,
            sync,
            active,
            arrivals,
            sealed,
            ends,
            next_frame,
            frame,
        })
    }

    /// Writes the records of these entries and syncs once.
    pub(crate) fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        let with_records = || entries.iter().filter(|entry| entry.records().len() > 0);
        let Some(now) = with_records().map(Entry::arrival_millis).max() else { return Ok(()) };
        let is_old = self.arrivals.is_some_and(|(first, _)| first + SEGMENT_MILLIS <= now);
        if self.arrivals.is_some() && (is_old || self.active.length() >= self.segment_bytes) {
            self.rotate()?;
        }
        self.frame.clear();
        with_records().for_each(|entry| self.frame.add_records(entry));
        self.active.append(&mut self.frame, self.next_frame, &self.sync)?;
        self.next_frame += 1;
        for entry in with_records() {
            let next = entry.first() + entry.records().len() as u64;
            let end = End { next, last_arrival_millis: entry.arrival_millis() };
            self.ends.insert(entry.shard(), end);
        }
        let (first, last) = self.arrivals.unwrap_or((now, now));
        self.arrivals = Some((first, last.max(now)));
        Ok(())
    }

    /// Begins another segment.
    fn rotate(&mut self) -> io::Result<()> {
        let head = Head {
            segment: self.active.number() + 1,
            first_frame: self.next_frame,
            salt: salt(),
            stream_created: self.stream_created,
        };
        state(&mut self.frame, &self.ends);
        let next = Segment::create(&self.folder, head, &mut self.frame, &self.sync)?;
        self.next_frame += 1;
        let last_arrival_millis = self.arrivals.take().map_or(0, |(_, last)| last);
        let path = std::mem::replace(&mut self.active, next).seal()?;
        self.sealed.push_back(Sealed { path, last_arrival_millis });
        Ok(())
    }

    /// Deletes whole segments whose records all arrived at or before `horizon_millis`.
    pub(crate) fn expire(&mut self, horizon_millis: u64) -> io::Result<()> {
        if self.arrivals.is_some_and(|(_, last)| last <= horizon_millis) {
            self.rotate()?;
        }
        while let Some(oldest) =
            self.sealed.pop_front_if(|oldest| oldest.last_arrival_millis <= horizon_millis)
        {
            fs::remove_file(&oldest.path)?;
            // One after the other also after a crash: a gap between segments is damage.
            self.sync.folder(&self.folder)?;
        }
        Ok(())
    }

    pub(crate) fn active_path(&self) -> &std::path::Path {
        self.active.path()
    }
}

fn state(frame: &mut Frame, ends: &BTreeMap<ShardNumber, End>) {
    frame.clear();
    ends.iter().for_each(|(shard, end)| frame.add_state(*shard, *end));
}

fn salt() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1 ^ uuid::Uuid::new_v4().as_u64_pair().0
}
