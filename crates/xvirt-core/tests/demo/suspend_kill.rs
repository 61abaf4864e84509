//! A process is killed while it suspends and resumes its VM: the VM is suspended or it is not, and never both.

use std::fs;
use std::path::Path;
use std::time::Duration;

use xvirt_core::config::{Boot, Disk, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::vm::{SuspendedVm, Vm};
use xvirt_testing::random::Random;

use crate::host;
use crate::support::{PATIENCE, config};
use crate::victim::{self, Moment, killed, say};

/// How often the process is killed, unless `XVIRT_SUSPEND_KILLS` says otherwise.
const KILLS: u64 = 20;
const DISK: u64 = 8 << 20;

fn configuration(folder: &Path) -> VmConfig {
    let line = CommandLine::new([Mode::Counter, Mode::BlkLoad]).pages(300).blocks(16).every(1);
    let kernel = Boot::kernel(folder.join("kernel")).command_line(line.to_string());
    config(&line).boot(kernel).disk(Disk::raw(folder.join("disk")))
}

/// Waits until the guest has checked its memory and its disk again.
fn goes_on(vm: &Vm) {
    let mut console = vm.console().reader_at_end();
    for expected in ["blk 0: round", "pass", "blk 0: round", "pass"] {
        let text = console.wait_for(expected, PATIENCE).unwrap();
        assert!(!text.contains(demo::FAILED), "{text}");
    }
}

/// Suspends and resumes a VM for ever, in the process that is killed.
#[test]
fn obeys() {
    let Some((folder, _)) = victim::order() else { return };
    let (folder, host) = (folder.as_path(), Host::probe().unwrap());
    let saved = folder.join("saved");
    let vm = configuration(folder).build(&host).unwrap();
    vm.start().unwrap();
    loop {
        goes_on(&vm);
        say("suspending");
        vm.suspend(&saved, &()).unwrap();
        say("suspended");
        say("resuming");
        vm.resume(&()).unwrap();
        say("resumed");
    }
}

#[test]
fn a_killed_process_leaves_a_vm_suspended_or_not() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (folder, saved) = (folder.path(), folder.path().join("saved"));
    fs::write(folder.join("kernel"), demo::kernel()).unwrap();
    disk::create(folder.join("disk"), ImageFormat::Raw, DISK).unwrap();
    let kills = std::env::var("XVIRT_SUSPEND_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut random = Random::new(kills);
    let mut delay = || Duration::from_micros(random.below_u64(150_000));
    let at_random = (0..kills).map(|_| Moment::After { word: "suspending", times: 1, delay: delay() });
    for (number, moment) in [Moment::At("suspended"), Moment::At("resumed")].into_iter().chain(at_random).enumerate() {
        let last = killed("suspend_kill::obeys", folder, 0, &moment);
        let exists = saved.exists();
        let expected: &[bool] = match last.as_str() {
            "suspended" => &[true],
            "resumed" => &[false],
            _ => &[false, true],
        };
        assert!(expected.contains(&exists), "kill {number} after '{last}': the file is there: {exists}");
        let others = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let others: Vec<_> = others.filter(|name| name != "kernel" && name != "disk" && name != "saved").collect();
        assert!(others.is_empty(), "kill {number} after '{last}' leaves {others:?}");
        if exists {
            let vm = SuspendedVm::open(&saved).unwrap().build(&host).unwrap();
            vm.resume(&()).unwrap();
            goes_on(&vm);
            vm.hard_shutdown().unwrap();
        }
    }
}
