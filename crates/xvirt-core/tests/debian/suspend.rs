//! A busy Debian is suspended, and resumed by another process.

use std::env;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use xvirt_core::agent::{GuestAgent, GuestCommand};
use xvirt_core::config::{Disk, Nic};
use xvirt_core::host::Host;
use xvirt_core::vm::{SuspendedVm, Vm};

use crate::guest::{Guest, PATIENCE};
use crate::saved::SavedDebian;

/// Makes this program the other process: it names the file of the suspended VM.
const FILE: &str = "XVIRT_TEST_DEBIAN_SUSPENDED";
/// How often the guest is suspended, and for how many seconds: `XVIRT_SUSPEND=5x60` is the long variant.
const SHORT: (u32, u64) = (2, 3);
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
fn run(agent: &GuestAgent, command: &str) -> String {
    let output = agent.run(&GuestCommand::shell(command).timeout(PATIENCE)).unwrap();
    assert!(output.status.is_success(), "{command}: {:?} {}", output.status, output.stderr_lossy());
    output.stdout_lossy().trim().to_owned()
}

fn agent(vm: &Vm) -> GuestAgent {
    vm.agent().with_timeout(PATIENCE)
}

fn rounds() -> (u32, u64) {
    let Ok(text) = env::var("XVIRT_SUSPEND") else { return SHORT };
    let (count, seconds) = text.split_once('x').unwrap();
    (count.parse().unwrap(), seconds.parse().unwrap())
}

/// Resumes the VM, checks it, and suspends it again.
#[test]
fn another_process_resumes_it() {
    let Some(file) = env::var_os(FILE) else { return };
    let vm = resume_and_check(Path::new(&file));
    println!("{:?}", vm.suspend(file, &()).unwrap());
}

/// Resumes the VM, whose load must go on without damage and whose clock must be right.
fn resume_and_check(file: &Path) -> Vm {
    let vm = SuspendedVm::open(file).unwrap().build(&Host::probe().unwrap()).unwrap();
    println!("{:?}", vm.resume(&()).unwrap());
    thread::sleep(SETTLED);
    let agent = agent(&vm);
    let (early, guest, late) = (SystemTime::now(), agent.time().unwrap(), SystemTime::now());
    let second = Duration::from_secs(1);
    assert!(early - second <= guest && guest <= late + second, "{early:?}, {guest:?}, {late:?}");
    run(
        &agent,
        "kill -0 $(cat /run/load) $(cat /run/spin) && n=$(cat /run/count) && \
         until [ \"$(cat /run/count)\" -gt $((n + 1)) ] 2>/dev/null; do sleep 0.1; done",
    );
    assert_eq!(run(&agent, "findmnt --noheadings --output OPTIONS / | cut -d , -f 1"), "rw");
    assert_eq!(run(&agent, &format!("dmesg | grep -E '{COMPLAINTS}' || true")), "");
    vm
}

#[test]
fn a_busy_debian_is_suspended_and_resumed_by_other_processes() {
    let Some(debian) = SavedDebian::copy() else { return };
    // Other processes cannot open an open tap of this one.
    let vm = debian.build(debian.config(Nic::new_tap()));
    vm.resume(&()).unwrap();
    for load in [DISK_LOAD, CPU_LOAD] {
        run(&agent(&vm), &format!("nohup sh -c '{load}' >/dev/null 2>&1 </dev/null &"));
    }
    run(&agent(&vm), "until [ -s /run/count ]; do sleep 0.1; done");

    let (count, seconds) = rounds();
    let file = debian.path("suspended");
    vm.suspend(&file, &()).unwrap();
    drop(vm);
    for _ in 1..count {
        thread::sleep(Duration::from_secs(seconds));
        let other = Command::new(env::current_exe().unwrap())
            .args(["--exact", "suspend::another_process_resumes_it", "--nocapture"])
            .env(FILE, &file)
            .output()
            .unwrap();
        let said = [other.stdout, other.stderr].map(|output| String::from_utf8_lossy(&output).into_owned()).concat();
        assert!(other.status.success() && file.exists(), "{said}");
    }
    thread::sleep(Duration::from_secs(seconds));
    let vm = resume_and_check(&file);

    let agent = agent(&vm);
    run(&agent, "kill $(cat /run/load) $(cat /run/spin); sync; echo 3 >/proc/sys/vm/drop_caches");
    let wrong = run(&agent, "cd /root; for s in s?; do md5sum -c --quiet $s || echo wrong; done");
    // The load may have been killed between writing a file and its checksum.
    assert!(wrong.lines().filter(|line| *line == "wrong").count() <= 1, "{wrong}");
    vm.clean_shutdown(PATIENCE).unwrap();
    drop(vm);
    is_clean(Disk::open(debian.path("root")).unwrap());
}

/// Checks the file system on the disk of a Debian that has shut down, in another one.
fn is_clean(disk: Disk) {
    let debian = SavedDebian::copy().unwrap();
    let mut guest = Guest::resume(debian.vm());
    guest.vm.plug_disk(disk.read_only()).unwrap();
    guest.run("until [ -b /dev/vdb1 ]; do sleep 0.1; done");
    println!("{}", guest.run("fsck.ext4 -fn /dev/vdb1"));
}
