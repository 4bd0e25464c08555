//! `kcl stream`.

mod admin;
mod lineage;
mod listing;
mod put;
mod tail;

use aws_sdk_kinesis::Client;
use clap::{Parser, Subcommand};

use crate::output::Output;

/// Make, show, write and follow streams
///
/// Of `kcl serve`, of AWS, of anything that speaks Kinesis. Credentials and region come from the
/// environment, the shared configuration files or the machine's role, as for every AWS client; at
/// another service than AWS, and with no credentials in the environment, made-up ones serve.
#[derive(Debug, Parser)]
#[command(
    verbatim_doc_comment,
    after_help = "Example, with `kcl serve` running:
  export AWS_ENDPOINT_URL=http://127.0.0.1:4566
  kcl stream create orders --shards 2
  kcl stream tail orders --from trim-horizon &
  seq 10 | kcl stream put orders"
)]
pub struct Args {
    #[command(flatten)]
    place: Place,

    #[command(subcommand)]
    command: Command,
}

/// Where the streams are.
#[derive(Debug, Parser)]
struct Place {
    /// Another service than AWS, such as `kcl serve` [env: AWS_ENDPOINT_URL_KINESIS, else
    /// AWS_ENDPOINT_URL]
    #[arg(long, global = true, value_name = "URL")]
    endpoint_url: Option<String>,

    /// AWS region
    #[arg(long, global = true)]
    region: Option<String>,

    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a stream, and wait until it is ACTIVE
    Create(admin::Create),
    /// List the streams
    List,
    /// Show a stream and its shards
    Describe(admin::Named),
    /// Put records: those given, or each line of the standard input
    Put(put::Args),
    /// Print records as they arrive, across splits and merges
    Tail(tail::Args),
    /// Split a shard in two
    Split(admin::Split),
    /// Merge two shards whose hash keys touch
    Merge(admin::Merge),
    /// Delete a stream with its records. Only tells what it would do, unless --yes is given
    Delete(admin::Delete),
}

/// Why a command did not do what it was asked: for people, one line.
type Failure = String;

/// What the service said, by the name of its error.
fn told<E, R>(error: aws_sdk_kinesis::error::SdkError<E, R>) -> Failure
where
    E: aws_sdk_kinesis::error::ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    use aws_sdk_kinesis::error::ProvideErrorMetadata;
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        // The last cause says it best: what is between are layers of the client.
        _ => {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            let cause = crate::aws::in_one_line(&cause.to_string());
            format!(
                "no answer ({error}): {cause}; check region and credentials, or for `kcl serve` \
                 give --endpoint-url http://127.0.0.1:4566 or set AWS_ENDPOINT_URL"
            )
        }
    }
}

pub async fn run(args: &Args) -> Result<(), Failure> {
    let place = &args.place;
    let url = crate::aws::endpoint(place.endpoint_url.as_deref(), "KINESIS");
    let config = crate::aws::config(url.as_deref(), place.region.as_deref()).await;
    let client = Client::new(&config);
    let output = Output::new(place.json);
    match &args.command {
        Command::Create(args) => admin::create(&client, &output, args).await,
        Command::List => admin::list(&client, &output).await,
        Command::Describe(args) => admin::describe(&client, &output, args).await,
        Command::Put(args) => put::run(&client, &output, args).await,
        Command::Tail(args) => tail::run(&client, &output, args).await,
        Command::Split(args) => admin::split(&client, &output, args).await,
        Command::Merge(args) => admin::merge(&client, &output, args).await,
        Command::Delete(args) => admin::delete(&client, &output, args).await,
    }
}
