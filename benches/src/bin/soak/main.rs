//! Many VMs that read, write and answer pings for a long time, beside some that attack their devices.
//!
//! `cargo run --release -p xvirt-benches --bin soak -- --vms 50 --hostile 2 --minutes 10`

mod honest;
mod hostile;
mod lines;
mod ping;
mod soak;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Runs many VMs at once in this process: honest ones that write to a raw and a qcow2 disk, compare everything they
/// read with what they wrote last, flush now and then and answer pings, and hostile ones that put random contents into
/// the rings, registers, interrupt tables, PCI configuration and ports of all their devices.
///
/// At the end the honest ones are shut down, and their images are compared with what they say must be in them. The exit
/// status is 0 only if no honest VM lost anything, none failed or halted by itself, and all descriptors and threads were
/// given back.
#[derive(Debug, Parser)]
struct Options {
    /// How many VMs run at once.
    #[arg(long, default_value_t = 50)]
    vms: u32,
    /// How many of them are hostile.
    #[arg(long, default_value_t = 2)]
    hostile: u32,
    /// For how long.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// What the hostile ones do, and what the honest ones write.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave the network out; taps need CAP_NET_ADMIN.
    #[arg(long)]
    no_network: bool,
    /// Where the disks are made [default: the system's folder for temporary files].
    #[arg(long)]
    folder: Option<PathBuf>,
}

fn main() -> ExitCode {
    match soak::run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
