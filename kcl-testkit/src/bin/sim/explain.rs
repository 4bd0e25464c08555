//! What is told of a seed that fails.

use std::io::Write;
use std::path::Path;

use kcl_testkit::sim::{Failure, Options, run};

use super::file;

/// Tells what broke, the fewest faults that break it, and a test to keep, and leaves a file to
/// replay.
///
/// # Errors
/// If the file or the text cannot be written.
pub fn explain(options: &Options, directory: &Path, out: &mut dyn Write) -> Result<(), String> {
    eprintln!("seed {} fails; looking for the fewest faults that make it fail", options.seed);
    let Some(failure) = Failure::shrunk(options, run) else {
        return told(writeln!(
            out,
            "seed {} failed, and does not now: it is not reproducible",
            options.seed
        ));
    };
    // First of all: whoever reads along may go away.
    let file = directory.join(format!("sim-seed-{}.json", options.seed));
    file::write_failure(&file, &failure)?;
    told(writeln!(out, "{failure}\na test to keep:\n{}", test(&failure)))?;
    told(writeln!(out, "to see what happens: sim --replay {}", file.display()))
}

fn told(written: std::io::Result<()>) -> Result<(), String> {
    written.map_err(|error| format!("the result cannot be printed: {error}"))
}

/// A test of this seed, as a whole file: it fails as long as the seed does.
pub fn test(failure: &Failure) -> String {
    let test = failure.test();
    let time = if test.contains("Duration::") { "use std::time::Duration;\n\n" } else { "" };
    format!("{time}use kcl_testkit::sim::{{Options, run}};\n\n{test}\n")
}
