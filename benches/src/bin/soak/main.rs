//! Runs many VMs that read, write and answer pings for a long time, beside some that attack their devices.
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

/// Runs many VMs in this process: honest ones that write to a raw and a qcow2 disk, compare all reads with the last
/// writes, flush occasionally and answer pings, and hostile ones that write random data to the rings, registers,
/// interrupt tables, PCI configuration and ports of all their devices.
///
/// At the end, the honest VMs are shut down, and their images are compared with the expected contents. The exit status
/// is 0 only if no honest VM lost data, none failed or halted by itself, and all descriptors and threads were released.
#[derive(Debug, Parser)]
struct Options {
    /// The number of VMs.
    #[arg(long, default_value_t = 50)]
    vms: u32,
    /// The number of hostile VMs among them.
    #[arg(long, default_value_t = 2)]
    hostile: u32,
    /// The duration in minutes.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The seed of attacks and written data.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Disable the network; taps need CAP_NET_ADMIN.
    #[arg(long)]
    no_network: bool,
    /// The folder for the disks [default: the system's folder for temporary files].
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
