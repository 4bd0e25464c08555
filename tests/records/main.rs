//! `aggregates`: prints aggregates for another decoder, one JSON object a line.
//! `kms URL`: seals and opens with the KMS at this address.
//! `tests/records/run` runs both.

mod aggregates;
mod kms;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["aggregates"] => aggregates::print().await,
        ["kms", url] => kms::check(url).await,
        _ => {
            eprintln!("usage: kcl-tests-records aggregates | kms URL");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}
