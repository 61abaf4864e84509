//! Measures suspending and resuming a VM beside `dd` of the same bytes and beside peers, in turn, in the same file
//! system.

mod cloud_hypervisor;
mod dd;
mod firecracker;
mod lazy;
mod peer;
mod qemu;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use peer::{Cache, Peer};
use report::Times;
use xvirt_benches::guest::{Guest, IN_USE};
use xvirt_benches::{Result, demo_vm, ended};
use xvirt_core::config::{ByteSize, Nic};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::host::Host;
use xvirt_core::net::Tap;
use xvirt_core::vm::{ResumeReport, SuspendReport, Vm};

/// Suspends and resumes a VM of the demo guest with two disks and two network interfaces, most of whose memory is in
/// use, and writes and reads the same number of bytes with dd. Rates of 1 and more mean that xvirt is as fast.
///
/// The peers: QEMU, which is the program in QEMU or qemu-system-x86_64 (QEMU_DATA: its folders of firmware, as in
/// PATH), and those that FIRECRACKER and CLOUD_HYPERVISOR name. They save and restore a guest with the same memory,
/// without devices. Peers that are not there are left out and named.
#[derive(Parser)]
struct Options {
    /// The guest's memory.
    #[arg(long, default_value = "1GiB")]
    memory: ByteSize,
    /// Measures resumes that run the guest before its memory is read, and instances of a template with memory, instead.
    #[arg(long)]
    lazy: bool,
    /// How often each is measured.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Where files are written.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// Also writes the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    ended("snapshots", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    if options.lazy {
        return lazy::run(options);
    }
    let folder = tempfile::tempdir_in(&options.folder)?;
    let line = CommandLine::new([Mode::Counter]);
    let guest = Guest::new(options.memory, Guest::pages(options.memory), line, folder.path())?;
    let vm = start(&guest)?;
    let mut peers = find_peers(&guest);
    let saved = folder.path().join("saved");
    let mut times = Times::default();
    for _ in 0..options.runs {
        let SuspendReport { memory, state, total, .. } = vm.suspend(&saved, &())?;
        times.suspend.push(total);
        times.save_state.push(state);
        times.bytes = memory;
        times.write.push(dd::write(folder.path(), memory)?);
        dd::evict(&saved)?;
        let ResumeReport { state, total, .. } = vm.resume(&())?;
        times.resume.push(total);
        times.load_state.push(state);
        times.read.push(dd::read(folder.path())?);
        for peer in &mut peers {
            // The guests take turns, because two of them do not always fit into memory or onto a processor.
            vm.pause()?;
            let measured = peer.suspend_and_resume(&guest, Cache::Cold);
            vm.unpause()?;
            let (suspend, resume) = measured.map_err(|error| format!("{}: {error}", peer.name()))?;
            times.peer(peer.name()).add(suspend, resume);
        }
    }
    vm.hard_shutdown()?;
    times.report(options.memory, options.runs, options.json.as_deref())
}

/// A VM whose guest has most of its memory in use. Its taps exist for as long as it does, as those that a program's
/// network set-up makes.
fn start(guest: &Guest) -> Result<Vm> {
    let config = demo_vm::with_disks(guest.config("snapshots"), guest.folder(), 2)?;
    let nic = || -> Result<Nic> {
        let tap = Tap::create(None)?;
        tap.set_up()?;
        Ok(Nic::tap_descriptor(std::os::fd::AsFd::as_fd(&tap).try_clone_to_owned()?))
    };
    let vm = config.nic(nic()?).nic(nic()?).build(&Host::probe()?)?;
    vm.start()?;
    vm.console().reader().wait_for(IN_USE, Duration::from_secs(120))?;
    Ok(vm)
}

/// The peers that can be measured; prints why others cannot.
fn find_peers(guest: &Guest) -> Vec<Box<dyn Peer>> {
    let mut found: Vec<Box<dyn Peer>> = Vec::new();
    for (name, peer) in
        [("qemu", qemu::find()), ("firecracker", firecracker::find()), ("cloud-hypervisor", cloud_hypervisor::find())]
    {
        match peer.and_then(|mut peer| peer.suspend_and_resume(guest, Cache::Cold).map(|_| peer)) {
            Ok(peer) => found.push(peer),
            Err(reason) => println!("{name}: not measured: {reason}"),
        }
    }
    found
}
