//! The services under every drill of one command: the table and the stream.

use std::path::PathBuf;
use std::process::Stdio;

use kcl_core::causes::in_one_line;
use kcl_testkit::DynamoDbLocal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::args::Args;
use crate::stage::Trouble;
use crate::{child, clients};

/// Whether the table survives its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    InMemory,
    /// In a folder, so that the server can be restarted.
    InFolder,
}

pub(crate) struct Services {
    pub dynamodb: String,
    pub local: Option<DynamoDbLocal>,
    pub kinesis: String,
    _serve: Child,
    // After the server that writes into it.
    _folder: Option<Folder>,
}

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // In the system's folder for such things, which is cleared anyhow.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Services {
    /// Starts what was not given.
    ///
    /// # Errors
    /// Which service does not start or answer, and why.
    pub async fn start(args: &Args, keeping: Keeping) -> Result<Self, Trouble> {
        let folder = match keeping {
            Keeping::InFolder => Some(fresh_folder()?),
            Keeping::InMemory => None,
        };
        let (dynamodb, local) = match &args.dynamodb {
            Some(url) => (url.clone(), None),
            None => {
                let path = folder.as_ref().map(|folder| folder.0.clone());
                let start = move || match path {
                    Some(path) => DynamoDbLocal::start_in(path),
                    None => DynamoDbLocal::start(),
                };
                let local = tokio::task::spawn_blocking(start).await??;
                (local.endpoint().to_owned(), Some(local))
            }
        };
        answers(&dynamodb).await?;
        let (serve, kinesis) = serve(args).await?;
        Ok(Self { dynamodb, local, kinesis, _serve: serve, _folder: folder })
    }
}

/// Asks a DynamoDB for its tables, to be told at once if it is none.
async fn answers(endpoint: &str) -> Result<(), Trouble> {
    let asked = clients::dynamodb(endpoint).list_tables().limit(1).send().await;
    asked.map_err(|error| format!("no DynamoDB answers at {endpoint}: {}", in_one_line(&error)))?;
    Ok(())
}

async fn serve(args: &Args) -> Result<(Child, String), Trouble> {
    let program = std::env::current_exe()?;
    let mut serve = child::command(&program.display().to_string())?;
    serve.args(["serve", "--port", "0", "--transition-ms", "0"]);
    if !args.limits {
        serve.arg("--unlimited");
    }
    // It would warn that nobody is asked for a key: here the workers alone know its port.
    if std::env::var_os("RUST_LOG").is_none() {
        serve.env("RUST_LOG", "warn,kcl::serve=error");
    }
    let mut serve = serve.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = serve.stdout.take().ok_or("kcl serve has no output")?;
    let first = BufReader::new(output).lines().next_line().await?.unwrap_or_default();
    let kinesis = first.strip_prefix("listening on ").ok_or("kcl serve did not start")?;
    Ok((serve, kinesis.to_owned()))
}

fn fresh_folder() -> Result<Folder, String> {
    let name = format!("kcl-drill-{}", uuid::Uuid::new_v4().simple());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(Folder(folder))
}
