//! A small load for any endpoint of Kinesis on this machine: raw HTTP/1.1 with requests made
//! beforehand, so that the client costs little beside the server.
//!
//!     cargo run --release -p kcl-endpoint --example load -- NAME URL PID
//!
//! NAME is for the table; PID is the server's process, whose time and memory are read from `/proc`.
//! `scripts/bench-endpoint` starts the servers, side by side.

mod measures;
mod wire;

fn main() -> Result<(), wire::Failure> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: load NAME HOST:PORT PID [memory|durable]";
    let name = args.next().ok_or(usage)?;
    let address = args.next().ok_or(usage)?;
    let server = measures::Server { address, pid: args.next().ok_or(usage)?.parse()? };
    let told = match args.next().as_deref() {
        None => measures::all(&server)?,
        Some("memory") => measures::memory(&server)?,
        Some("durable") => measures::durable(&server)?,
        Some(_) => return Err(usage.into()),
    };
    for (what, value) in told {
        println!("{name:<14} {what:<44} {value}");
    }
    Ok(())
}
