//! The log of a test, kept.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use tracing::Dispatch;
use tracing::dispatcher::DefaultGuard;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::{MakeWriter, fmt};

/// While there is one subscriber alone, tracing asks the thread that reaches a line first whether
/// that line is wanted, and keeps its word for all threads: another test, which logs nothing, would
/// silence the line here. With this one beside it, all subscribers are asked.
static SECOND: LazyLock<Dispatch> =
    LazyLock::new(|| Dispatch::new(fmt().with_max_level(LevelFilter::OFF).finish()));

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Keeps what this thread logs, up to this level, as long as the guard lives.
    pub fn of_this_thread(level: LevelFilter) -> (Self, DefaultGuard) {
        LazyLock::force(&SECOND);
        let log = Self::default();
        let lines = fmt().with_writer(log.clone()).with_ansi(false).with_max_level(level);
        (log, tracing::dispatcher::set_default(&Dispatch::new(lines.finish())))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
