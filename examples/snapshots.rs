//! Suspends a VM to a file, and resumes it as another process would.
//!
//! `cargo run --release --example snapshots` runs the demo guest, which counts in each page of its memory and checks
//! that none is lost. It needs no disk image, and works wherever `/dev/kvm` can be opened.

use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use xvirt_core::config::{Boot, ByteSize, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::host::Host;
use xvirt_core::vm::{SuspendedVm, Vm};
use xvirt_examples::Steps;

const USAGE: &str = "\
Suspends a VM with the demo guest to a file, and resumes it from there.

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

    // A suspended VM can be built again from its file alone if its configuration names files rather than open objects.
    let kernel = folder.path().join("kernel");
    fs::write(&kernel, demo::kernel())?;
    let line = CommandLine::new([Mode::Counter]).pages(20_000).every(1).to_string();
    let config = VmConfig::new("counting").memory(ByteSize::mib(128)).boot(Boot::kernel(kernel).command_line(line));
    let vm = config.build(&host)?;
    vm.start()?;
    let pass = next_pass(&vm)?;
    steps.done(&format!("started a guest; it has counted in all of its pages {pass} times"));

    let saved = folder.path().join("counting.suspended");
    let report = vm.suspend(&saved, &())?;
    drop(vm);
    let size = ByteSize::new(report.memory);
    steps.done(&format!("suspended it: {size} of memory in {:?}", report.total));

    // From here on, this could be another process, on another day.
    let vm = SuspendedVm::open(&saved)?.build(&host)?;
    let report = vm.resume(&())?;
    steps.done(&format!("resumed it in {:?}, {:?} of that for its memory", report.total, report.memory));

    let later = next_pass(&vm)?;
    steps.done(&format!("it goes on where it was: {later} times"));
    vm.hard_shutdown()?;
    steps.done("shut it down");
    if later <= pass { Err("the guest began anew".into()) } else { Ok(()) }
}

/// Waits for the next time that the guest has counted in all its pages and found none wrong.
fn next_pass(vm: &Vm) -> Result<u64, Box<dyn Error>> {
    let mut console = vm.console().reader_at_end();
    console.wait_for("counter: cpu 0 pass ", PATIENCE)?;
    Ok(console.wait_for("\n", PATIENCE)?.trim().parse()?)
}
