//! A process of `kcl serve`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_http_client::Builder as Http;

pub const STREAM: &str = "orders";

/// Killed when dropped, too.
pub struct Server {
    process: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts a process on this folder.
    pub fn spawn(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command.args(["serve", "--port", "0", "--unlimited", "--transition-ms", "0"]);
        // Many files, so that kills fall on the step from one to the next.
        command.args(["--segment-kib", "1", "--streams", "orders:3", "--data"]).arg(folder);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = process.stdout.take().map(BufReader::new);
        Self { process, output }
    }

    /// Waits until it listens; a client that tries nothing twice.
    pub async fn client(&mut self) -> Client {
        let mut output = self.output.take().unwrap();
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            output.read_line(&mut line).map(|_| line)
        });
        let line = line.await.unwrap().unwrap();
        let url = line.trim().strip_prefix("listening on ");
        let url = url.unwrap_or_else(|| panic!("it does not start: {line:?}"));
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .endpoint_url(url)
            .retry_config(RetryConfig::disabled())
            .http_client(Http::new().build_http())
            .build();
        Client::from_conf(config)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself; the next one tells why it cannot start.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
