//! Processes that do not outlive the drill, however it ends.

use std::io;
use std::os::unix::process::CommandExt;

use rustix::process::{Pid, Signal, getppid};
use tokio::process::Command;

use crate::args::CHILD_COMMAND;

/// A command that runs a program in a process group of its own, which ends when this process does.
///
/// # Errors
/// This program cannot be found.
pub(crate) fn command(program: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([CHILD_COMMAND, &std::process::id().to_string(), program]);
    // Its own group: a signal then reaches what a script has started, too, and Ctrl-C in the
    // terminal does not reach a worker past the drill.
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

/// Becomes the program that the words name, and dies with the process that started this one.
/// Returns only if that cannot be.
pub fn become_child(words: &[String]) -> io::Error {
    let [parent, program, arguments @ ..] = words else {
        return io::Error::other("usage: PARENT PROGRAM ARGUMENTS");
    };
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    let parent = parent.parse().ok().and_then(Pid::from_raw);
    if parent.is_none() || getppid() != parent {
        return io::Error::other("the process that started this one is gone");
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    io::Error::new(error.kind(), format!("{program:?} cannot be run: {error}"))
}
