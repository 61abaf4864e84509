//! Measures the time of a VM from `start()` to the first byte of its guest, and of `hard_shutdown()`.
//!
//! `cargo bench -p xvirt-benches --bench start`; configuring and building the VM is not measured.

mod measure;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};
use xvirt_benches::{Result, demo_vm};
use xvirt_core::config::VmConfig;
use xvirt_core::host::Host;

use crate::measure::measure;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let host = Host::probe()?;
    host.require_kvm()?;
    let folder = tempfile::tempdir()?;
    let plain = demo_vm::config("plain");
    let disks = demo_vm::with_disks(demo_vm::config("disks"), folder.path(), 2)?;

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("vm");
    // Rounds take milliseconds and vary little, so flat sampling ends sooner.
    group.sample_size(50).sampling_mode(SamplingMode::Flat);
    measure(&mut group, "start to first byte", || start(&plain, &host))?;
    measure(&mut group, "start to first byte, 2 disks", || start(&disks, &host))?;
    measure(&mut group, "hard_shutdown", || hard_shutdown(&plain, &host))?;
    measure(&mut group, "hard_shutdown, 2 disks", || hard_shutdown(&disks, &host))?;
    group.finish();
    Ok(())
}

fn start(config: &VmConfig, host: &Host) -> Result<Duration> {
    demo_vm::start(&config.clone().build(host)?)
}

fn hard_shutdown(config: &VmConfig, host: &Host) -> Result<Duration> {
    let vm = config.clone().build(host)?;
    vm.start()?;
    demo_vm::wait_up(&vm)?;
    let begun = Instant::now();
    vm.hard_shutdown()?;
    Ok(begun.elapsed())
}
