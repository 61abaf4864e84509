//! Load in a Debian that is stopped and goes on: it must go on without damage, and with the right time.

use std::thread;
use std::time::{Duration, SystemTime};

use xvirt_core::agent::{GuestAgent, GuestCommand};
use xvirt_core::config::Disk;
use xvirt_core::vm::Vm;

use crate::guest::{Guest, PATIENCE};
use crate::saved::SavedDebian;

/// When the guest's clock is compared with the host's.
const SETTLED: Duration = Duration::from_secs(5);
/// Writes files with a checksum each without end.
const DISK_LOAD: &str = "set -e; echo $$ >/run/load; cd /root; i=0; while :; do i=$((i + 1)); \
                         dd if=/dev/urandom of=f$((i % 8)) bs=64k count=16 conv=fsync 2>/dev/null; \
                         md5sum f$((i % 8)) >s$((i % 8)); echo $i >/run/count; done";
const CPU_LOAD: &str = "echo $$ >/run/spin; while :; do :; done";
/// Kernel messages that show problems with clocks or disks.
const COMPLAINTS: &str = "lockup|rcu.*stall|blocked for more than|clocksource.*unstable|EXT4-fs (error|warning)|\
                          I/O error|Remounting filesystem read-only";

/// Runs a shell command, which must succeed, and returns its output.
pub fn run(vm: &Vm, command: &str) -> String {
    let output = agent(vm).run(&GuestCommand::shell(command).timeout(PATIENCE)).unwrap();
    assert!(output.status.is_success(), "{command}: {:?} {}", output.status, output.stderr_lossy());
    output.stdout_lossy().trim().to_owned()
}

fn agent(vm: &Vm) -> GuestAgent {
    vm.agent().with_timeout(PATIENCE)
}

/// Starts a command that runs on by itself.
pub fn start(vm: &Vm, command: &str) {
    run(vm, &format!("nohup sh -c '{command}' >/dev/null 2>&1 </dev/null &"));
}

/// Keeps the guest's disk and processors busy.
pub fn start_load(vm: &Vm) {
    for load in [DISK_LOAD, CPU_LOAD] {
        start(vm, load);
    }
    run(vm, "until [ -s /run/count ]; do sleep 0.1; done");
}

/// Checks that the guest's clock is right to a second.
pub fn clock_is_right(vm: &Vm) {
    let (early, guest, late) = (SystemTime::now(), agent(vm).time().unwrap(), SystemTime::now());
    let second = Duration::from_secs(1);
    assert!(early - second <= guest && guest <= late + second, "{early:?}, {guest:?}, {late:?}");
}

/// Checks that the load goes on without damage, and that the guest's clock is right.
pub fn check_load(vm: &Vm) {
    thread::sleep(SETTLED);
    clock_is_right(vm);
    run(
        vm,
        "kill -0 $(cat /run/load) $(cat /run/spin) && n=$(cat /run/count) && \
         until [ \"$(cat /run/count)\" -gt $((n + 1)) ] 2>/dev/null; do sleep 0.1; done",
    );
    assert_eq!(run(vm, "findmnt --noheadings --output OPTIONS / | cut -d , -f 1"), "rw");
    assert_eq!(run(vm, &format!("dmesg | grep -E '{COMPLAINTS}' || true")), "");
}

/// Ends the load, checks all that it wrote, and shuts the guest down.
pub fn end_load(vm: &Vm) {
    run(vm, "kill $(cat /run/load) $(cat /run/spin); sync; echo 3 >/proc/sys/vm/drop_caches");
    let wrong = run(vm, "cd /root; for s in s?; do md5sum -c --quiet $s || echo wrong; done");
    // The load may have been killed between writing a file and its checksum.
    assert!(wrong.lines().filter(|line| *line == "wrong").count() <= 1, "{wrong}");
    vm.clean_shutdown(PATIENCE).unwrap();
}

/// Checks the file system on the disk of a Debian that has shut down, in another one.
pub fn is_clean(disk: Disk) {
    let debian = SavedDebian::copy().unwrap();
    let mut guest = Guest::resume(debian.vm());
    guest.vm.plug_disk(disk.read_only()).unwrap();
    guest.run("until [ -b /dev/vdb1 ]; do sleep 0.1; done");
    println!("{}", guest.run("fsck.ext4 -fn /dev/vdb1"));
}
