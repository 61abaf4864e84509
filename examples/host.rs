//! Prints what this host offers to VMs, with a remedy for what it lacks.
//!
//! `cargo run --example host` prints a table, `cargo run --example host -- --json` the same for programs.

use std::io::Write;
use std::process::ExitCode;

use xvirt_core::host::Host;

fn main() -> ExitCode {
    let json = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--json") => true,
        Some(_) => {
            eprintln!("usage: host [--json]");
            return ExitCode::from(2);
        }
    };
    match report(json) {
        Ok(text) => {
            // The reader may have closed the pipe.
            let _ = writeln!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn report(json: bool) -> Result<String, Box<dyn std::error::Error>> {
    let host = Host::probe()?;
    Ok(if json { serde_json::to_string_pretty(&host)? } else { host.to_string() })
}
