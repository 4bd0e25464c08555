//! DynamoDB Local for tests: starts it, tells where it listens, stops it.
//!
//! Process handling only; the client is the test's own.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Names a DynamoDB Local that runs already, for instance one for a whole test run.
pub const ENDPOINT_VARIABLE: &str = "DDB_LOCAL_ENDPOINT";

/// The script that fetches and runs it; also `scripts/dynamodb-local` of the repository.
const SCRIPT: &str = include_str!("../../scripts/dynamodb-local");

/// A running DynamoDB Local.
///
/// One server per process: handles share it, and it stops when the last is dropped or the process
/// ends in whatever way. Tests that share it keep apart by table names of their own.
///
/// ```no_run
/// # fn main() -> Result<(), kcl_testkit::dynamodb_local::StartError> {
/// let dynamodb = kcl_testkit::DynamoDbLocal::start()?;
/// let endpoint = dynamodb.endpoint(); // http://127.0.0.1:PORT, for the client's endpoint_url
/// # let _ = endpoint;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DynamoDbLocal {
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server {
    endpoint: String,
    process: Mutex<Option<Child>>,
    /// Where it keeps its data, if not in memory.
    folder: Option<PathBuf>,
}

/// Why DynamoDB Local is not running, and what to do.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl DynamoDbLocal {
    /// Uses the server named by `DDB_LOCAL_ENDPOINT`, else the one this process started, else
    /// starts one and waits until it answers: two seconds, a minute where it has to be fetched.
    /// Blocks the thread for so long.
    ///
    /// # Errors
    /// [`StartError`] if Java 17, Maven or the network is missing; the line on standard error
    /// says which.
    pub fn start() -> Result<Self, StartError> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Ok(Self { server });
        }
        let named = std::env::var(ENDPOINT_VARIABLE).ok().filter(|endpoint| !endpoint.is_empty());
        let server = match named {
            Some(endpoint) => Server { endpoint, process: Mutex::default(), folder: None },
            None => Server::start(None, None)?,
        };
        let server = Arc::new(server);
        *shared = Arc::downgrade(&server);
        Ok(Self { server })
    }

    /// Starts a server for this handle and its clones alone, whatever runs already: for tests that
    /// stop or restart it. Blocks as [`DynamoDbLocal::start`] does.
    ///
    /// # Errors
    /// As for [`DynamoDbLocal::start`].
    pub fn start_apart() -> Result<Self, StartError> {
        Server::start(None, None).map(|server| Self { server: Arc::new(server) })
    }

    /// Starts a server apart that keeps its data in this folder, so that it can be
    /// [restarted](DynamoDbLocal::restart). Slower than one in memory. Blocks as
    /// [`DynamoDbLocal::start`] does.
    ///
    /// # Errors
    /// As for [`DynamoDbLocal::start`].
    pub fn start_in(folder: impl Into<PathBuf>) -> Result<Self, StartError> {
        Server::start(Some(folder.into()), None).map(|server| Self { server: Arc::new(server) })
    }

    /// Stops the server and starts it again at the same endpoint, with what is in its folder.
    /// Blocks meanwhile.
    ///
    /// # Errors
    /// It was not started by [`DynamoDbLocal::start_in`], or does not start again.
    pub fn restart(&self) -> Result<(), StartError> {
        let Some(folder) = self.server.folder.clone() else {
            return Err(StartError("only a server with a folder can be restarted".into()));
        };
        let port = self.endpoint().rsplit_once(':').map(|(_, port)| port.to_owned());
        let mut process = self.server.process.lock().unwrap_or_else(PoisonError::into_inner);
        stop(process.take());
        let started = Server::start(Some(folder), port)?;
        *process = started.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }

    /// Where it listens, as a client's endpoint URL.
    pub fn endpoint(&self) -> &str {
        &self.server.endpoint
    }
}

impl Server {
    fn start(folder: Option<PathBuf>, port: Option<String>) -> Result<Self, StartError> {
        let mut command = Command::new("bash");
        command.args(["-c", SCRIPT, "dynamodb-local", "serve"]).args(port);
        if let Some(folder) = &folder {
            command.env("DDB_LOCAL_DIR", folder);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| StartError(format!("bash cannot be run: {error}")))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            // A failed read leaves the line empty, which is reported below.
            BufReader::new(output).read_line(&mut line).unwrap_or_default();
        }
        let Some(endpoint) = line.trim_end().strip_prefix("ready ") else {
            drop(child.stdin.take());
            let status = child.wait().map_or_else(|error| error.to_string(), |s| s.to_string());
            return Err(StartError(format!(
                "DynamoDB Local did not start ({status}); the reason is on standard error. Or set \
                 {ENDPOINT_VARIABLE} to one that runs"
            )));
        };
        Ok(Self { endpoint: endpoint.to_owned(), process: Mutex::new(Some(child)), folder })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(self.process.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Ends the script's standard input, at which it stops the server, and waits for that.
fn stop(process: Option<Child>) {
    if let Some(mut child) = process {
        drop(child.stdin.take());
        // Nothing is left to do if the process is gone already.
        child.wait().ok();
    }
}
