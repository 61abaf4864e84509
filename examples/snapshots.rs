//! Suspends a VM and resumes it as another process would, takes a snapshot and a checkpoint, and goes back to both.
//!
//! `cargo run --release --example snapshots` runs the demo guest, which counts in each page of its memory and writes to
//! its disk, and checks both. It needs no disk image, and works wherever `/dev/kvm` can be opened.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use xvirt_core::config::{Boot, ByteSize, Disk, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::vm::Vm;
use xvirt_examples::Steps;

const USAGE: &str = "\
Suspends a VM with the demo guest and resumes it; takes a snapshot and a checkpoint of it, and goes back to them.

usage: snapshots [--help]

Needs /dev/kvm.";

/// The time limit of each step, which allows for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("snapshots: unknown option {other}; see --help");
            return ExitCode::from(2);
        }
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snapshots: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut steps = Steps::default();
    let host = Host::probe()?;
    host.require_kvm()?;
    let folder = tempfile::tempdir()?;
    let repository = Repository::open(folder.path().join("repository"))?;
    let vm = create(&repository, folder.path())?.build(&host)?;
    let which = vm.uuid().to_string();
    vm.start()?;
    let begun = next_pass(&vm)?;
    steps.done(&format!("started a guest; it has counted in all of its pages {begun} times"));

    let report = repository.suspend(&vm, &())?;
    drop(vm);
    steps.done(&format!("suspended it: {} of memory in {:?}", ByteSize::new(report.memory), report.total));
    // From here on, this could be another process, on another day.
    let vm = repository.vm(&which)?.build(&host)?;
    let report = vm.resume(&())?;
    steps.done(&format!("resumed it in {:?}, {:?} of that for its memory", report.total, report.memory));
    let resumed = next_pass(&vm)?;
    steps.done(&format!("it goes on where it was: {resumed} times"));

    let began = Instant::now();
    let snapshot = repository.snapshot(&vm, "running", &())?;
    steps.done(&format!("took a snapshot of its disk in {:?}; the guest went on", began.elapsed()));
    let began = Instant::now();
    let checkpoint = repository.checkpoint(&vm, "with memory", &())?;
    let size = ByteSize::new(checkpoint.size()?);
    steps.done(&format!("took a checkpoint of its disk and its memory in {:?}; it uses {size}", began.elapsed()));
    let taken = next_pass(&vm)?;
    while next_pass(&vm)? < taken + 5 {}
    steps.done("let it count five more times");

    vm.hard_shutdown()?;
    drop(vm);
    let began = Instant::now();
    let vm = repository.revert(&checkpoint)?.build(&host)?;
    vm.resume(&())?;
    let reverted = next_pass(&vm)?;
    steps.done(&format!("reverted it to the checkpoint in {:?}: it has counted {reverted} times", began.elapsed()));

    vm.hard_shutdown()?;
    drop(vm);
    let vm = repository.revert(&snapshot)?.build(&host)?;
    vm.start()?;
    let booted = next_pass(&vm)?;
    steps.done(&format!("reverted it to the snapshot and booted it from that disk: it has counted {booted} times"));
    vm.hard_shutdown()?;
    drop(vm);

    for (name, snapshot) in [("snapshot", snapshot), ("checkpoint", checkpoint)] {
        repository.remove_snapshot(&snapshot)?;
        steps.done(&format!("removed the {name}"));
    }
    let problems = repository.check(&())?.problems;
    if resumed <= begun || reverted > taken + 1 || !problems.is_empty() {
        return Err(format!("the guest began anew, or the repository is damaged: {problems:?}").into());
    }
    Ok(())
}

/// Stores a VM with a disk whose guest counts and writes.
fn create(repository: &Repository, folder: &Path) -> Result<StoredVm, Box<dyn Error>> {
    // A VM that names files rather than open objects can be built by every process.
    let kernel = folder.join("kernel");
    fs::write(&kernel, demo::kernel())?;
    let line = CommandLine::new([Mode::Counter, Mode::BlkLoad]).pages(20_000).blocks(16).every(1).to_string();
    let mut stage = repository.stage()?;
    let disk = stage.disk_path(0, ImageFormat::Qcow2);
    disk::create(&disk, ImageFormat::Qcow2, 1 << 30)?;
    let config = VmConfig::new("counting").memory(ByteSize::mib(128)).boot(Boot::kernel(kernel).command_line(line));
    Ok(stage.commit(config.disk(Disk::qcow2(disk)))?)
}

/// Waits for the next time that the guest has counted in all its pages and found none wrong.
fn next_pass(vm: &Vm) -> Result<u64, Box<dyn Error>> {
    let mut console = vm.console().reader_at_end();
    console.wait_for("counter: cpu 0 pass ", PATIENCE)?;
    Ok(console.wait_for("\n", PATIENCE)?.trim().parse()?)
}
