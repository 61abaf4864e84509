//! Boots a Debian disk, works in it through its guest agent, suspends and resumes it, moves it to another process while
//! it runs, and shuts it down there.
//!
//! `scripts/quickstart` makes the disk and runs this on hosts that can run a stock kernel. The guest gets two disks
//! (its root and an empty one) and a NIC on a network with only the host, 10.77.0.1, and the guest, 10.77.0.2. Without
//! the privileges to create a tap, it gets a user network instead, over which pings are skipped.

mod migration;
mod network;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use xvirt_core::config::{ByteSize, Disk, Nic, VmConfig};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_examples::{Guest, GuestOptions, Result, Steps, host_of_stock_kernels};

/// Boots a Debian disk, works in it through its guest agent, suspends and resumes it, moves it to another process while
/// it runs, and shuts it down there.
///
/// Needs a KVM with hardware virtualization and, for the network, root or CAP_NET_ADMIN, or else the package passt.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    guest: GuestOptions,
    /// The number of vCPUs
    #[arg(long, value_name = "N", default_value_t = 2)]
    vcpus: u32,
    /// Size of the empty second disk
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    data_size: ByteSize,
    /// A command to run in the guest
    #[arg(long, value_name = "TEXT", default_value = "uname -a; nproc; lsblk; ip -br addr")]
    command: String,
    /// Takes the VM from the process that listens there, with this second disk, instead of booting it
    #[arg(long, hide = true, num_args = 2, value_names = ["SOCKET", "FILE"])]
    take: Option<Vec<PathBuf>>,
}

impl Options {
    /// The VM with this second disk, connected to `nic`.
    fn config(&self, data: &Path, nic: Nic) -> VmConfig {
        VmConfig::new("debian")
            .vcpus(self.vcpus)
            .memory(self.guest.memory)
            .boot(self.guest.boot())
            .disk(Disk::raw(&self.guest.disk).serial("root"))
            .disk(Disk::qcow2(data).serial("data"))
            .nic(nic)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.take.as_deref() {
        Some([socket, data]) => migration::take(&options, socket, data),
        _ => run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("debian: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::default();

    let host = host_of_stock_kernels()?;
    steps.done("probed the host");

    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data.qcow2");
    disk::create(&data, ImageFormat::Qcow2, options.data_size.bytes())?;
    let (nic, tap) = network::join()?;
    let network = tap.as_ref().map_or("a user network", |tap| tap.name());
    steps.done(&format!("made a data disk of {}; the guest is connected to {network}", options.data_size));

    let vm = options.config(&data, nic).build(&host)?;
    let guest = Guest::start(vm, options.guest.timeout())?;
    steps.done(&format!("started a VM of {} vCPUs and {}", options.vcpus, options.guest.memory));

    guest.wait_ready()?;
    steps.done("Debian booted from its disk and its agent answers");

    guest.run(&options.command)?;
    steps.done("ran a command in the guest");

    guest.run("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && echo hello >/mnt/file && sync && df -h / /mnt")?;
    steps.done("made a file system on the data disk and wrote to it");

    if tap.is_some() {
        network::ping_guest()?;
        guest.run(&format!("ping -c 3 -i 0.2 {}", network::HOST))?;
        steps.done("pinged from host to guest and from guest to host");
    }

    let file = folder.path().join("debian.suspended");
    let report = guest.vm().suspend(&file, &())?;
    let memory = ByteSize::new(report.memory);
    steps.done(&format!("suspended Debian to a file in {:.2?}: {memory} of memory are in it", report.total));

    let report = guest.vm().resume(&())?;
    guest.run("date; cat /mnt/file")?;
    steps.done(&format!("resumed Debian from the file in {:.2?}; it goes on where it was", report.total));

    guest.run(migration::COUNT)?;
    let downtime = migration::give(&guest, folder.path(), &data)?;
    steps.done(&format!("moved Debian to another process while it ran, which stopped it for {downtime:.2?}"));

    steps.summary();
    Ok(())
}
