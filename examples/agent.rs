//! Boots a Debian disk and demonstrates the functions of its guest agent.
//!
//! `scripts/debian-disk` makes such a disk. It is not changed: the guest writes to a copy.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use xvirt_core::agent::{GuestAgent, GuestCommand, OutputStream};
use xvirt_core::config::{Disk, VmConfig};
use xvirt_core::disk;
use xvirt_core::vm::Vm;
use xvirt_examples::{Guest, GuestOptions, Result, Steps, host_of_stock_kernels};

/// Runs commands in a Debian guest through its agent, reads and writes its files, queries its addresses, sets its
/// clock, and takes a consistent snapshot of its disk.
///
/// Needs KVM with hardware virtualization.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    guest: GuestOptions,
}

fn main() -> ExitCode {
    match run(&Options::parse().guest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &GuestOptions) -> Result<()> {
    let mut steps = Steps::default();
    let host = host_of_stock_kernels()?;
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("root");
    disk::overlay(&options.disk, None, &copy)?;
    let vm =
        VmConfig::new("debian").memory(options.memory).boot(options.boot()).disk(Disk::open(&copy)?).build(&host)?;
    let guest = Guest::start(vm, options.timeout())?;
    guest.wait_ready()?;
    let agent = guest.agent();
    steps.done(&format!("Debian booted; its agent has version {}", agent.info()?.version));

    commands(&agent)?;
    steps.done("ran a command with input, and one with streamed output");
    files(&agent)?;
    steps.done("wrote a file in the guest and read it back");
    for interface in agent.network_interfaces()? {
        let addresses: Vec<_> =
            interface.addresses.iter().map(|one| format!("{}/{}", one.address, one.prefix)).collect();
        println!("  {}: {}", interface.name, addresses.join(", "));
    }
    agent.set_time(SystemTime::now())?;
    steps.done("queried its addresses and set its clock");
    let disks = consistent_snapshot(guest.vm(), &agent, folder.path())?;
    steps.done(&format!("froze its file systems for a snapshot of {disks} disk"));

    guest.shut_down()?;
    steps.done("shut the guest down");
    steps.summary();
    Ok(())
}

fn commands(agent: &GuestAgent) -> Result<()> {
    let sorted = agent.run(&GuestCommand::new("sort").arg("-n").input("10\n9\n"))?;
    println!("  sort: {}, {:?}", sorted.status, sorted.stdout_lossy());
    let command = GuestCommand::shell("for i in 3 2 1; do echo $i; sleep 1; done").timeout(Duration::from_secs(60));
    agent.run_streamed(&command, |stream, bytes| {
        if stream == OutputStream::Stdout {
            print!("  counting: {}", String::from_utf8_lossy(bytes));
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

fn files(agent: &GuestAgent) -> Result<()> {
    agent.write_file("/etc/motd", b"managed by xvirt\n")?;
    let text = agent.read_file("/etc/motd", 1 << 16)?;
    print!("  /etc/motd: {}", String::from_utf8_lossy(&text));
    Ok(())
}

/// Takes views of all disks while the file systems are frozen, and returns the number of disks.
fn consistent_snapshot(vm: &Vm, agent: &GuestAgent, scratch: &std::path::Path) -> Result<usize> {
    let frozen = agent.freeze_file_systems(Duration::from_secs(30))?;
    let views = vm.snapshot_views(scratch)?;
    println!("  {} file systems were frozen", frozen.thaw()?);
    Ok(views.len())
}
