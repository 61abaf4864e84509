//! VMs that run the demo guest, as the figures are taken with them.

use std::path::Path;
use std::time::{Duration, Instant};

use xvirt_core::config::{Boot, ByteSize, Disk, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::vm::Vm;

use crate::Result;

/// The memory of each VM.
pub const MEMORY: ByteSize = ByteSize::mib(128);

/// A machine that is far too busy still makes progress within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A VM of one vCPU that listens on its console once it is up.
pub fn config(name: &str) -> VmConfig {
    let line = CommandLine::new([Mode::Echo]).to_string();
    VmConfig::new(name).memory(MEMORY).boot(Boot::kernel(demo::kernel()).command_line(line))
}

/// Adds `count` new empty disks, kept in `folder`.
///
/// # Errors
/// A disk cannot be made.
pub fn with_disks(mut config: VmConfig, folder: &Path, count: usize) -> Result<VmConfig> {
    for number in 0..count {
        let path = folder.join(format!("{}-{number}.raw", config.name));
        disk::create(&path, ImageFormat::Raw, ByteSize::mib(64).bytes())?;
        config = config.disk(Disk::raw(path));
    }
    Ok(config)
}

/// Starts a halted VM; how long it took until the guest printed its first byte.
///
/// # Errors
/// It does not start, or prints nothing.
pub fn start(vm: &Vm) -> Result<Duration> {
    let mut console = vm.console().reader_at_end();
    let begun = Instant::now();
    vm.start()?;
    console.read_timeout(&mut [0], PATIENCE)?;
    Ok(begun.elapsed())
}

/// Waits until the guest has set itself up and listens.
///
/// # Errors
/// It does not come so far.
pub fn wait_up(vm: &Vm) -> Result<()> {
    vm.console().reader().wait_for(demo::ECHO_READY, PATIENCE)?;
    Ok(())
}
