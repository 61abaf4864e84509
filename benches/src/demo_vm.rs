//! VMs with the demo guest, for measurements.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use xvirt_core::config::{Boot, ByteSize, Disk, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::vm::Vm;

use crate::Result;

/// The memory of each VM.
pub const MEMORY: ByteSize = ByteSize::mib(128);

/// A time within which even a very busy machine makes progress.
const PATIENCE: Duration = Duration::from_secs(30);

/// A VM with one vCPU that listens on its console once it is up.
pub fn config(name: &str) -> VmConfig {
    let line = CommandLine::new([Mode::Echo]).to_string();
    VmConfig::new(name).memory(MEMORY).boot(Boot::kernel(demo::kernel()).command_line(line))
}

/// Adds `count` new empty disks in `folder`.
///
/// # Errors
/// A disk cannot be created.
pub fn with_disks(mut config: VmConfig, folder: &Path, count: usize) -> Result<VmConfig> {
    for number in 0..count {
        let path = folder.join(format!("{}-{number}.raw", config.name));
        disk::create(&path, ImageFormat::Raw, ByteSize::mib(64).bytes())?;
        config = config.disk(Disk::raw(path));
    }
    Ok(config)
}

/// Starts a halted VM, and returns the time to the guest's first byte of output.
///
/// # Errors
/// The VM does not start, or prints nothing.
pub fn start(vm: &Vm) -> Result<Duration> {
    let mut console = vm.console().reader_at_end();
    let begun = Instant::now();
    vm.start()?;
    console.read_timeout(&mut [0], PATIENCE)?;
    Ok(begun.elapsed())
}

/// Waits until the guest is set up and listens.
///
/// # Errors
/// The guest does not get that far.
pub fn wait_up(vm: &Vm) -> Result<()> {
    vm.console().reader().wait_for(demo::ECHO_READY, PATIENCE)?;
    Ok(())
}

/// How long reading the power state takes, in nanoseconds, as the mean of so many calls.
pub fn power_state_time(vm: &Vm, calls: u32) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        black_box(black_box(vm).power_state());
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}
