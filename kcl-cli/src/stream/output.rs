//! What is printed.

use std::io::{self, Write};

use serde_json::Value;

use super::Failure;

/// Prints lines for people, or JSON.
pub struct Output {
    is_json: bool,
}

impl Output {
    pub fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// Prints one thing: the text, or the object.
    ///
    /// # Errors
    /// Nobody reads any more, or the output is full.
    pub fn line(&self, text: impl FnOnce() -> String, object: impl FnOnce() -> Value) -> Printed {
        let line = if self.is_json { object().to_string() } else { plain(&text()) };
        let mut output = io::stdout().lock();
        writeln!(output, "{line}").and_then(|()| output.flush()).map_err(|error| {
            match error.kind() {
                io::ErrorKind::BrokenPipe => Stopped::NobodyReads,
                _ => Stopped::Failed(format!("the output: {error}")),
            }
        })
    }
}

pub type Printed = Result<(), Stopped>;

/// Why printing ends.
pub enum Stopped {
    /// As `head` does; no failure.
    NobodyReads,
    Failed(Failure),
}

impl Stopped {
    /// For a command: a reader that has gone is no failure.
    pub fn into_result(self) -> Result<(), Failure> {
        match self {
            Self::NobodyReads => Ok(()),
            Self::Failed(why) => Err(why),
        }
    }
}

/// What came from others must not drive a terminal.
fn plain(text: &str) -> String {
    let is_safe = |c: char| !c.is_control() || c == '\t' || c == '\n';
    let safe = |c: char| match is_safe(c) {
        true => c.to_string(),
        false => c.escape_default().to_string(),
    };
    text.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a\tb\u{1b}[2Jé"), "a\tb\\u{1b}[2Jé");
    }
}
