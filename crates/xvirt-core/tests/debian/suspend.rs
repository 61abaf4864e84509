//! A busy Debian is suspended, and resumed by another VM handle.

use std::env;
use std::thread;
use std::time::{Duration, SystemTime};

use xvirt_core::agent::{GuestAgent, GuestCommand};
use xvirt_core::config::{ByteSize, Disk, VmConfig};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::vm::SuspendedVm;

use crate::guest::PATIENCE;
use crate::{needs, without_mitigations};

/// How often the guest is suspended, and for how many seconds: `XVIRT_SUSPEND=5x60` is the long variant.
const SHORT: (u32, u64) = (2, 3);
/// Writes files with a checksum each without end, and keeps a CPU busy.
const LOAD: &str = "set -e; echo $$ >/run/load; cd /root; i=0; while :; do i=$((i + 1)); dd if=/dev/urandom of=f$((i % 8)) bs=64k count=16 \
                    conv=fsync 2>/dev/null; md5sum f$((i % 8)) >s$((i % 8)); echo $i >count; done";
/// Kernel messages that show problems with clocks or disks.
const COMPLAINTS: &str = "soft lockup|rcu.*stall|blocked for more than|clocksource.*unstable|EXT4-fs error|I/O error";

/// Runs a shell command, which must succeed, and returns its output.
fn run(agent: &GuestAgent, command: &str) -> String {
    let output = agent.run(&GuestCommand::shell(command).timeout(PATIENCE)).unwrap();
    assert!(output.status.is_success(), "{command}: {:?} {}", output.status, output.stderr_lossy());
    output.stdout_lossy().trim().to_owned()
}

fn rounds() -> (u32, u64) {
    let Ok(text) = env::var("XVIRT_SUSPEND") else { return SHORT };
    let (count, seconds) = text.split_once('x').unwrap();
    (count.parse().unwrap(), seconds.parse().unwrap())
}

#[test]
fn a_busy_debian_is_suspended_and_resumed() {
    let Some((host, [root])) = needs(["XVIRT_DEBIAN_DISK"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    disk::overlay(&root, Some(ImageFormat::Raw), folder.path().join("root")).unwrap();
    let config = VmConfig::new("debian")
        .vcpus(2)
        .memory(ByteSize::mib(512))
        .boot(without_mitigations())
        .disk(Disk::open(folder.path().join("root")).unwrap());
    let mut vm = config.build(&host).unwrap();
    vm.start().unwrap();
    let agent = vm.agent().with_timeout(PATIENCE);
    agent.wait_ready(PATIENCE).unwrap();
    run(&agent, &format!("nohup sh -c '{LOAD}' >/dev/null 2>&1 </dev/null &"));
    run(&agent, "nohup sh -c 'while :; do :; done' >/dev/null 2>&1 </dev/null &");

    let (count, seconds) = rounds();
    let path = folder.path().join("saved");
    for _ in 0..count {
        let before: u64 =
            run(&vm.agent().with_timeout(PATIENCE), "until [ -s /root/count ]; do sleep 0.1; done; cat /root/count")
                .parse()
                .unwrap();
        vm.suspend(&path, &()).unwrap();
        drop(vm);
        thread::sleep(Duration::from_secs(seconds));
        vm = SuspendedVm::open(&path).unwrap().build(&host).unwrap();
        vm.resume(&()).unwrap();
        let agent = vm.agent().with_timeout(PATIENCE);
        agent.wait_ready(PATIENCE).unwrap();
        run(&agent, &format!("until [ \"$(cat /root/count)\" -gt {before} ] 2>/dev/null; do sleep 0.1; done"));
        let (early, guest, late) = (SystemTime::now(), agent.time().unwrap(), SystemTime::now());
        let second = Duration::from_secs(1);
        assert!(early - second <= guest && guest <= late + second, "{early:?}, {guest:?}, {late:?}");
        let complaints = run(&agent, &format!("dmesg | grep -E '{COMPLAINTS}' || true"));
        assert_eq!(complaints, "");
    }
    let agent = vm.agent().with_timeout(PATIENCE);
    run(&agent, "kill $(cat /run/load); sync; echo 3 >/proc/sys/vm/drop_caches");
    let wrong = run(&agent, "cd /root; for s in s?; do md5sum -c --quiet $s || echo wrong; done");
    // The load may have been killed between writing a file and its checksum.
    assert!(wrong.lines().filter(|line| *line == "wrong").count() <= 1, "{wrong}");
}
