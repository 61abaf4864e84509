//! Measures live migration beside a raw socket and beside peers, in turn, over the same loopback.

mod cloud_hypervisor;
mod contender;
mod qemu;
mod raw;
mod report;
mod scenarios;
mod tls;
mod xvirt;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use scenarios::Scenarios;
use xvirt_benches::{Result, ended};
use xvirt_core::config::ByteSize;

/// Migrates VMs of the demo guest from this process to another over TCP, and does the same with the peers. Rates are
/// their time divided by that of xvirt, so that 2 means that xvirt is twice as fast.
///
/// The raw socket sends as many bytes that it has not touched before, from memory into fresh mappings of another process.
/// The peers are QEMU, which is the program in QEMU or qemu-system-x86_64 (QEMU_DATA: its folders of firmware, as in
/// PATH), and the one that CLOUD_HYPERVISOR names. They move guests with the same memory. Peers that are not there are left
/// out and named.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    /// The guest's memory.
    #[arg(long, default_value = "512MiB")]
    memory: ByteSize,
    /// The memory of the guest that uses little of it.
    #[arg(long, default_value = "4GiB")]
    large: ByteSize,
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Where files are written.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// Also writes the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(subcommand)]
    target: Option<Target>,
}

/// The other process, which this program starts.
#[derive(Subcommand)]
enum Target {
    /// Receives a VM.
    #[command(hide = true)]
    ReceiveVm {
        /// With the certificate in this folder.
        #[arg(long)]
        tls: Option<PathBuf>,
        /// Over this unix socket.
        #[arg(long)]
        socket: Option<PathBuf>,
    },
    /// Receives bytes.
    #[command(hide = true)]
    ReceiveBytes {
        count: usize,
        #[arg(long)]
        tls: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.target {
        Some(Target::ReceiveVm { tls, socket }) => xvirt::receive_vm(tls.as_deref(), socket.as_deref()),
        Some(Target::ReceiveBytes { count, tls }) => raw::receive_bytes(*count, tls.as_deref()),
        None => measure(&options),
    };
    ended("migration", done)
}

fn measure(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir_in(&options.folder)?;
    let mut scenarios = Scenarios::new(options.memory, options.large, folder.path())?;
    for _ in 0..options.runs {
        scenarios.run()?;
    }
    report::print(&scenarios, options.runs, options.json.as_deref())
}
