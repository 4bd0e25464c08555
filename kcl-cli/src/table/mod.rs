//! `kcl table`.

mod accept;
mod show;

use std::error::Error;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use clap::{Parser, Subcommand};
use kcl_core::protocol::{Lease, Row, StreamRow, TableRow, WorkerRow};
use kcl_core::{LeaseTable, Scan};
use kcl_lease_dynamo::DynamoLeaseTable;

/// Longest one request may take: a person waits, nobody's lease does.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Looks at the lease table of an application on DynamoDB, and mends it.
#[derive(Debug, Parser)]
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

/// Which table, and where. Credentials and region come from the environment, the shared
/// configuration files or the machine's role, as for every AWS client; with --endpoint-url and no
/// credentials in the environment, made-up ones serve.
#[derive(Debug, Parser)]
struct Place {
    /// Name of the application, which is the name of its table of leases
    application: String,

    /// Another service than AWS, such as DynamoDB Local
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
        let url = self.endpoint_url.as_deref();
        let client = Client::new(&crate::aws::config(url, self.region.as_deref()).await);
        let mut table =
            DynamoLeaseTable::builder(client, &self.application).request_timeout(REQUEST_TIMEOUT);
        if let Some(name) = &self.workers_table {
            table = table.coordination_table(name);
        }
        table.build()
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
        let id = table.prepare().await?;
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
