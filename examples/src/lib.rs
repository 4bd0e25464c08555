//! What the example programs share.

pub mod aws;
pub mod bench;
pub mod flights;
mod of_aws;

use std::fmt::Display;
use std::io::Write;

/// Prints a line. A reader that has gone away (`flights | head`) is no reason to panic.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
