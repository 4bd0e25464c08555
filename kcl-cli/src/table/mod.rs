//! `kcl table`.

mod accept;
mod show;

use std::error::Error;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use clap::{Parser, Subcommand};
use kcl_core::protocol::{Lease, Row, StreamRow, TableRow, WorkerRow};
use kcl_core::{LeaseTable, Scan, TableError};
use kcl_lease_dynamo::DynamoLeaseTable;
use serde_json::Value;

use crate::output::{Output, Stopped};

/// Longest one request may take: a person waits, nobody's lease does.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Look at a lease table on DynamoDB; accept one that was restored
///
/// Credentials and region come from the environment, the shared configuration files or the
/// machine's role, as for every AWS client; at another service than AWS, and with no credentials
/// in the environment, made-up ones serve.
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show leases and workers
    Show(Place),
    /// Accept a table that came back from a backup or was made anew: workers refuse it until then.
    /// Only tells what it would do, unless --yes is given
    AcceptRestored(accept::Args),
}

/// Which table, and where.
#[derive(Debug, Parser)]
struct Place {
    /// Name of the application, which is the name of its table of leases
    application: String,

    /// Another service than AWS, such as DynamoDB Local [env: AWS_ENDPOINT_URL_DYNAMODB, else
    /// AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,

    /// AWS region
    #[arg(long)]
    region: Option<String>,

    /// Table of workers and streams [default: the application's name and -workers]
    #[arg(long, value_name = "NAME")]
    workers_table: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Place {
    async fn open(&self) -> DynamoLeaseTable {
        let url = crate::aws::endpoint(self.endpoint_url.as_deref(), "DYNAMODB");
        let config = crate::aws::config(url.as_deref(), self.region.as_deref()).await;
        let client = Client::new(&config);
        let mut table =
            DynamoLeaseTable::builder(client, &self.application).request_timeout(REQUEST_TIMEOUT);
        if let Some(name) = &self.workers_table {
            table = table.coordination_table(name);
        }
        table.build()
    }

    /// Prints lines for people, or one object.
    fn print(
        &self,
        text: impl FnOnce() -> String,
        object: impl FnOnce() -> Value,
    ) -> Result<(), Box<dyn Error>> {
        Output::new(self.json).line(text, object).or_else(Stopped::into_result).map_err(Into::into)
    }
}

/// Why the table was not reached, and what to try.
fn told(error: TableError) -> Box<dyn Error> {
    match error {
        TableError::Unavailable(_) | TableError::Unknown(_) => {
            let said = crate::aws::in_one_line(&error.to_string());
            format!(
                "{said}; check region and credentials, or for DynamoDB Local give --endpoint-url \
                 http://127.0.0.1:8000 or set AWS_ENDPOINT_URL"
            )
            .into()
        }
        other => other.into(),
    }
}

/// Everything in a lease table.
struct Found {
    /// Its id, as the service reports it.
    id: String,
    table: Option<TableRow>,
    streams: Vec<StreamRow>,
    workers: Vec<WorkerRow>,
    leases: Vec<Lease>,
}

impl Found {
    async fn read(table: &DynamoLeaseTable) -> Result<Self, Box<dyn Error>> {
        let id = table.prepare().await.map_err(told)?;
        let mut found = Self { id, table: None, streams: vec![], workers: vec![], leases: vec![] };
        let mut rows = table.scan(Scan::Coordination).await?;
        rows.extend(table.scan(Scan::Leases).await?);
        for row in rows {
            match row {
                Row::Table(row) => found.table = Some(row),
                Row::Stream(row) => found.streams.push(row),
                Row::Worker(row) => found.workers.push(row),
                Row::Lease(row) => found.leases.push(row),
            }
        }
        Ok(found)
    }
}

pub async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    match &args.command {
        Command::Show(place) => show::run(place).await,
        Command::AcceptRestored(args) => accept::run(args).await,
    }
}
