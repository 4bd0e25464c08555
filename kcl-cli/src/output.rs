//! What is printed.

use std::io::{self, Write};

use serde_json::Value;

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
        let line = if self.is_json { plain_json(&object()) } else { plain(&text()) };
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
    Failed(String),
}

impl Stopped {
    /// For a command: a reader that has gone is no failure.
    pub fn into_result(self) -> Result<(), String> {
        match self {
            Self::NobodyReads => Ok(()),
            Self::Failed(why) => Err(why),
        }
    }
}

/// What came from others must not drive a terminal.
fn plain(text: &str) -> String {
    escaped(text, |c| c == '\t' || c == '\n')
}

/// The same of what is to stay within its line, and its column.
pub fn cell(text: &str) -> String {
    escaped(text, |_| false)
}

fn escaped(text: &str, is_kept: fn(char) -> bool) -> String {
    let safe = |c: char| match !c.is_control() || is_kept(c) {
        true => c.to_string(),
        false => c.escape_default().to_string(),
    };
    text.chars().map(safe).collect()
}

/// JSON leaves control characters above the first 32 as they are, which drive terminals too.
fn plain_json(object: &Value) -> String {
    let safe = |c: char| match c.is_control() {
        true => format!("\\u{:04x}", u32::from(c)),
        false => c.to_string(),
    };
    object.to_string().chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::{cell, plain, plain_json};

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a\tb\u{1b}[2Jé"), "a\tb\\u{1b}[2Jé");
        assert_eq!(cell("a\tb\n\u{1b}[2Jé"), "a\\tb\\n\\u{1b}[2Jé");
        let object = serde_json::json!({"reason": "\u{1b}\u{9b}2J\u{7f}é\n"});
        let printed = plain_json(&object);
        assert_eq!(printed, r#"{"reason":"\u001b\u009b2J\u007fé\n"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), object);
    }
}
