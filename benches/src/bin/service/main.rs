//! Measures the host service: what a start through it costs beyond one in this process, and its memory and that of its
//! workers while many VMs run.

mod api;
mod memory;
mod service;
mod starts;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use xvirt_benches::Result;

/// Measures the host service beside the library
///
/// Starts the same demo guest as a library call, through the host service (`xvirt host run`, over its socket), and under
/// Firecracker in its jailer, in turns, each until its first byte; then runs many VMs under the service, and tells the
/// memory of the service and of the workers. Needs /dev/kvm. FIRECRACKER and JAILER name those programs.
#[derive(Debug, Parser)]
#[command(name = "service")]
struct Options {
    /// How often each is started
    #[arg(long, default_value_t = 25)]
    runs: usize,
    /// How many VMs run at once
    #[arg(long, default_value_t = 200)]
    vms: usize,
    /// Write the figures as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let service = service::Service::start(folder.path())?;
    let starts = starts::measure(&service, folder.path(), options.runs)?;
    let memory = memory::measure(&service, options.vms)?;
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&json!({ "starts": starts, "memory": memory }))?)?;
    }
    Ok(())
}
