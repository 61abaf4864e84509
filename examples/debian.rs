//! Boots a Debian disk, works in it through its guest agent, suspends and resumes it, and shuts it down.
//!
//! `scripts/quickstart` makes the disk and runs this on hosts that can run a stock kernel. The guest gets two disks
//! (its root and an empty one) and a NIC on a network with only the host, 10.77.0.1, and the guest, 10.77.0.2. Without
//! the privileges to create a tap, it gets a user network instead, over which pings are skipped.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};

use clap::Parser;
use xvirt_core::ErrorKind;
use xvirt_core::config::{ByteSize, Disk, Nic, UserNetwork, VmConfig};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::net::Tap;
use xvirt_core::seed::InterfaceAddress;
use xvirt_examples::{Guest, GuestOptions, Result, Steps, host_of_stock_kernels};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const PREFIX: u8 = 24;

/// Boots a Debian disk, works in it through its guest agent, suspends and resumes it, and shuts it down.
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
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
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
    let (nic, tap) = network()?;
    let network = tap.as_ref().map_or("a user network", |tap| tap.name());
    steps.done(&format!("made a data disk of {}; the guest is connected to {network}", options.data_size));

    let vm = VmConfig::new("debian")
        .vcpus(options.vcpus)
        .memory(options.guest.memory)
        .boot(options.guest.boot())
        .disk(Disk::raw(&options.guest.disk).serial("root"))
        .disk(Disk::qcow2(&data).serial("data"))
        .nic(nic)
        .build(&host)?;
    let guest = Guest::start(vm, options.guest.timeout())?;
    steps.done(&format!("started a VM of {} vCPUs and {}", options.vcpus, options.guest.memory));

    guest.wait_ready()?;
    steps.done("Debian booted from its disk and its agent answers");

    guest.run(&options.command)?;
    steps.done("ran a command in the guest");

    guest.run("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && echo hello >/mnt/file && sync && df -h / /mnt")?;
    steps.done("made a file system on the data disk and wrote to it");

    if tap.is_some() {
        ping_from_host()?;
        guest.run(&format!("ping -c 3 -i 0.2 {HOST}"))?;
        steps.done("pinged from host to guest and from guest to host");
    }

    let file = folder.path().join("debian.suspended");
    let report = guest.vm().suspend(&file, &())?;
    let memory = ByteSize::new(report.memory);
    steps.done(&format!("suspended Debian to a file in {:.2?}: {memory} of memory are in it", report.total));

    let report = guest.vm().resume(&())?;
    guest.run("date; cat /mnt/file")?;
    steps.done(&format!("resumed Debian from the file in {:.2?}; it goes on where it was", report.total));

    guest.shut_down()?;
    steps.done("shut Debian down");
    steps.summary();
    Ok(())
}

/// A NIC on a tap of this program, or on a user network if the program may not create a tap.
fn network() -> Result<(Nic, Option<Tap>)> {
    let tap = match Tap::create(None) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let network = UserNetwork::new().address(InterfaceAddress::new(GUEST.into(), PREFIX)?).gateway(HOST);
            return Ok((Nic::user_network(network), None));
        }
        made => made?,
    };
    tap.set_address(HOST, PREFIX)?;
    tap.set_up()?;
    Ok((Nic::tap_descriptor(tap.as_fd().try_clone_to_owned()?), Some(tap)))
}

fn ping_from_host() -> Result<()> {
    let guest = GUEST.to_string();
    let output = Command::new("ping")
        .args(["-c", "3", &guest])
        .output()
        .map_err(|error| format!("cannot run ping: {error}; install iputils-ping"))?;
    print!("host# ping -c 3 {guest}\n{}", String::from_utf8_lossy(&output.stdout));
    if output.status.success() { Ok(()) } else { Err(format!("the guest at {guest} does not answer pings").into()) }
}
