//! Code shared by the tests with the demo guest.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::statfs;
use tempfile::TempDir;
use xvirt_core::Result;
use xvirt_core::config::{Boot, ByteSize, VmConfig};
use xvirt_core::console::ConsoleReader;
use xvirt_core::demo::{self, CommandLine};
use xvirt_core::host::Host;
use xvirt_core::vm::{Event, EventReceiver, Vm};

/// Long enough for a busy machine with an emulating KVM; never waited for in full unless a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// This host, if it can run VMs; otherwise prints that the test was skipped.
pub fn host() -> Option<Host> {
    let host = Host::probe().unwrap();
    if let Err(error) = host.require_kvm() {
        println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
        return None;
    }
    Some(host)
}

/// Returns from the test if this host cannot run VMs.
#[macro_export]
macro_rules! host {
    () => {
        match $crate::support::host() {
            Some(host) => host,
            None => return,
        }
    };
}

/// The types of file systems whose files of memory are mapped: ext4, XFS, Btrfs, F2FS, bcachefs and ZFS (statfs(2)).
const MAPPABLE: [i64; 6] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0xca45_1a4e, 0x2fc1_2fc1];

/// A folder from whose files memory is mapped; if there is none, prints that the test was skipped.
pub fn mappable_folder() -> Option<TempDir> {
    // Names of sockets must be short, and those of builds may be long.
    let folders = [env::temp_dir(), PathBuf::from(env!("CARGO_TARGET_TMPDIR"))];
    let mappable = |folder: &&PathBuf| statfs(*folder).is_ok_and(|system| MAPPABLE.contains(&system.f_type));
    let found = folders.iter().filter(mappable).find_map(|folder| tempfile::tempdir_in(folder).ok());
    if found.is_none() {
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        println!("SKIPPED {test}: none of {folders:?} is on a file system from which memory is mapped");
    }
    found
}

/// Returns from the test if there is no folder from whose files memory is mapped.
#[macro_export]
macro_rules! mappable_folder {
    () => {
        match $crate::support::mappable_folder() {
            Some(folder) => folder,
            None => return,
        }
    };
}

pub fn config(line: &CommandLine) -> VmConfig {
    VmConfig::new("demo").memory(ByteSize::mib(64)).boot(Boot::kernel(demo::kernel()).command_line(line.to_string()))
}

/// An ELF image for the 64-bit entry whose only instruction is `jmp $`: a guest that never leaves its vCPU by itself.
pub fn endless_loop() -> Vec<u8> {
    const ADDRESS: u64 = 0x10_0000;
    let mut image = vec![0x7F, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0];
    image.extend(ADDRESS.to_le_bytes());
    image.extend(64u64.to_le_bytes());
    image.extend(0u64.to_le_bytes());
    image.extend([0u8, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    image.extend([1u8, 0, 0, 0, 5, 0, 0, 0]);
    for field in [120u64, ADDRESS, ADDRESS, 2, 2, 0x1000] {
        image.extend(field.to_le_bytes());
    }
    image.extend([0xEB, 0xFE]);
    image
}

/// A started VM, its console from the first byte, and its events from the start.
pub struct Guest {
    pub vm: Vm,
    pub console: ConsoleReader,
    pub events: EventReceiver,
}

impl Guest {
    pub fn start(config: VmConfig, host: &Host) -> Result<Self> {
        let vm = config.build(host)?;
        let events = vm.events()?;
        vm.start()?;
        Ok(Self { console: vm.console().reader(), vm, events })
    }

    /// Waits until the guest has printed `text`, and returns the output up to it.
    pub fn expect(&mut self, text: &str) -> String {
        self.console.wait_for(text, PATIENCE).unwrap()
    }

    pub fn expect_event(&self, event: &Event) {
        assert_eq!(&self.events.next_timeout(PATIENCE).unwrap().event, event);
    }
}
