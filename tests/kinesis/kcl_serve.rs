//! `kcl serve` in a process of its own.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A served engine; it ends with this.
pub struct Served {
    pub url: String,
    child: Child,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    /// Serves on a free port.
    pub fn start(kcl: &Path, words: &[&str]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let started = Command::new(kcl)
            .args(["serve", "--port", "0"])
            .args(words)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = started.map_err(|error| format!("{}: {error}", kcl.display()))?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut served = Self { url: String::new(), child };
        BufReader::new(output).read_line(&mut served.url)?;
        let url = served.url.trim().strip_prefix("listening on ");
        served.url = url.ok_or("kcl serve does not listen")?.to_owned();
        Ok(served)
    }
}
