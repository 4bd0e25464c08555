//! Where records go that the error policy gives up on, before they count as done.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use kcl_protocol::{Fence, ShardId, StreamName, WorkerId};

use crate::source::Record;

/// A record that was given up on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The stream it came from.
    pub stream: StreamName,
    /// The shard it came from.
    pub shard: ShardId,
    /// The worker that gave it up.
    pub worker: WorkerId,
    /// The fence the worker had.
    pub fence: Fence,
    /// The record.
    pub record: Record,
    /// What the processor said.
    pub error: String,
    /// How often it failed.
    pub attempts: u32,
}

/// A sink did not take a letter; it is offered again after a delay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the dead-letter sink did not take the record: {0}")]
pub struct DeadLetterError(pub String);

/// Takes records that the error policy gives up on.
#[async_trait]
pub trait DeadLetterSink: Send + Sync + 'static {
    /// Keeps the letter for good. A letter may come twice: if a reply was lost, or a new owner
    /// took over right after.
    ///
    /// # Errors
    /// It was not kept. The record stays unacked, and the letter is offered again.
    ///
    /// # Cancel safety
    /// The future is dropped when the lease is lost; whether the letter was kept is then open.
    async fn put(&self, letter: &DeadLetter) -> Result<(), DeadLetterError>;
}

/// Keeps letters in memory, up to a bound; for tests and embedded use.
#[derive(Debug)]
pub struct MemoryDeadLetters {
    most: usize,
    letters: Mutex<VecDeque<DeadLetter>>,
}

impl MemoryDeadLetters {
    /// A sink that takes up to `most` letters and refuses more.
    pub fn bounded(most: usize) -> Self {
        Self { most, letters: Mutex::default() }
    }
    /// Takes the letters out, oldest first.
    pub fn drain(&self) -> Vec<DeadLetter> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
    /// How many it holds.
    pub fn len(&self) -> usize {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
    /// True if it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[async_trait]
impl DeadLetterSink for MemoryDeadLetters {
    async fn put(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if letters.len() >= self.most {
            return Err(DeadLetterError(format!("it is full with {} letters", self.most)));
        }
        letters.push_back(letter.clone());
        Ok(())
    }
}

/// Appends letters to a file, one JSON object a line, each synced to disk before it counts.
///
/// Fields: `stream`, `shard`, `worker`, `fence`, `sequence_number`, `subsequence_number`,
/// `partition_key`, `data` (base64), `arrival_millis`, `error`, `attempts`.
#[derive(Clone, Debug)]
pub struct FileDeadLetters {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl FileDeadLetters {
    /// Opens the file for appending, and makes it if there is none.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn open(path: impl AsRef<Path>) -> std::io::Result<Self> {
        let path = path.as_ref().to_owned();
        let file = OpenOptions::new().create(true).read(true).append(true).open(&path)?;
        Ok(Self { path, file: Arc::new(Mutex::new(file)) })
    }
    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl DeadLetterSink for FileDeadLetters {
    async fn put(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let (line, file) = (json_line(letter), Arc::clone(&self.file));
        let written = tokio::task::spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            // A line torn by a full disk or a crash must not swallow this one.
            if !ends_a_line(&mut file)? {
                file.write_all(b"\n")?;
            }
            file.write_all(line.as_bytes())?;
            file.sync_data()
        });
        let failed = |error: &dyn std::fmt::Display| {
            DeadLetterError(format!("{}: {error}", self.path.display()))
        };
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// True if the file is empty or ends with a line break.
fn ends_a_line(file: &mut File) -> std::io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn json_line(letter: &DeadLetter) -> String {
    let mut line = String::with_capacity(letter.record.data.len() * 4 / 3 + 400);
    let position = letter.record.position;
    let texts = [
        ("stream", letter.stream.to_string()),
        ("shard", letter.shard.to_string()),
        ("worker", letter.worker.to_string()),
        ("sequence_number", position.sequence.to_string()),
        ("partition_key", letter.record.partition_key.to_string()),
        ("data", base64(&letter.record.data)),
        ("error", letter.error.clone()),
    ];
    let numbers = [
        ("fence", letter.fence.0),
        ("subsequence_number", position.subsequence),
        ("arrival_millis", letter.record.arrival_millis),
        ("attempts", u64::from(letter.attempts)),
    ];
    for (index, (name, text)) in texts.iter().enumerate() {
        line.push_str(if index == 0 { "{\"" } else { ",\"" });
        line.push_str(name);
        line.push_str("\":");
        quote(&mut line, text);
    }
    for (name, number) in numbers {
        // Writing to a String cannot fail.
        let _ = write!(line, ",\"{name}\":{number}");
    }
    line.push_str("}\n");
    line
}

fn quote(line: &mut String, text: &str) {
    line.push('"');
    for char in text.chars() {
        match char {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            control if u32::from(control) < 0x20 => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            other => line.push(other),
        }
    }
    line.push('"');
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit > chunk.len() { '=' } else { DIGITS[value as usize] as char });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use kcl_protocol::SequenceNumber;

    fn letter(data: &'static [u8]) -> DeadLetter {
        DeadLetter {
            stream: StreamName::new("s"),
            shard: ShardId::new("shardId-000000000000"),
            worker: WorkerId::new("w"),
            fence: Fence(3),
            record: Record {
                position: SequenceNumber::from_parts(0, 7).into(),
                partition_key: "a \"key\"\n".into(),
                data: Bytes::from_static(data),
                arrival_millis: 5,
                unreadable: None,
            },
            error: "bad \\ record".into(),
            attempts: 6,
        }
    }

    #[test]
    fn base64_matches_the_vectors_of_rfc_4648() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in vectors {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[tokio::test]
    async fn the_file_holds_one_json_object_a_line() {
        let path = std::env::temp_dir().join(format!("dead-letters-{}", uuid::Uuid::new_v4()));
        let sink = FileDeadLetters::open(&path).unwrap();
        sink.put(&letter(b"foo")).await.unwrap();
        sink.put(&letter(b"fo")).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let expected = concat!(
            r#"{"stream":"s","shard":"shardId-000000000000","worker":"w","sequence_number":"7","#,
            r#""partition_key":"a \"key\"\u000a","data":"Zm9v","error":"bad \\ record","fence":3,"#,
            r#""subsequence_number":0,"arrival_millis":5,"attempts":6}"#
        );
        assert_eq!(text.lines().next(), Some(expected));
        assert_eq!(text.lines().count(), 2);
    }

    #[tokio::test]
    async fn a_full_memory_sink_refuses() {
        let sink = MemoryDeadLetters::bounded(1);
        sink.put(&letter(b"a")).await.unwrap();
        assert!(sink.put(&letter(b"b")).await.is_err());
        assert_eq!(sink.drain().len(), 1);
        assert!(sink.is_empty());
    }
}
