//! Debian's own guest agent: commands, files, addresses, clock, frozen file systems and a shutdown through it.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use xvirt_core::ErrorKind;
use xvirt_core::agent::{CommandStatus, GuestAgent, GuestCommand, OutputStream};
use xvirt_core::net::MacAddress;
use xvirt_core::vm::{PowerState, Vm};

use crate::GUEST;
use crate::echo::pattern;
use crate::guest::PATIENCE;
use crate::saved::{MAC, SavedDebian};

const MEBIBYTE: usize = 1 << 20;
/// The script with which the agent shuts the guest down. This Debian has no logind, so its own `shutdown` rejects `+0`.
const SHUTDOWN: &str = "#!/bin/sh\nsystemctl --no-block poweroff\n";

#[test]
fn debian_does_what_its_agent_is_asked_for() {
    let Some(debian) = SavedDebian::copy() else { return };
    let vm = debian.vm();
    let agent = vm.agent().with_timeout(PATIENCE);
    assert_eq!(agent.ping().unwrap_err().kind(), ErrorKind::AgentAbsent);
    vm.resume(&()).unwrap();
    agent.wait_ready(PATIENCE).unwrap();
    assert!(agent.info().unwrap().is_enabled("guest-exec"));

    virtio_console(&vm);
    commands(&agent);
    streamed_commands(&agent);
    files(&agent);
    has_address(&agent, MAC);
    clock(&agent);
    frozen_file_systems(&agent);

    assert_eq!(agent.reboot().unwrap_err().kind(), ErrorKind::AgentRefused);
    assert!(run(&agent, "rm /sbin/shutdown && install -m 755 /dev/null /sbin/shutdown").0.is_success());
    agent.write_file("/sbin/shutdown", SHUTDOWN.as_bytes()).unwrap();
    // A guest that ignores its power button.
    assert!(run(&agent, "systemctl stop acpid; systemctl mask --runtime acpid").0.is_success());
    vm.clean_shutdown(PATIENCE).unwrap();
    assert_eq!(vm.power_state(), PowerState::Halted);
}

/// Linux drives the virtio console on the same device as the agent's port; a shell runs on it.
fn virtio_console(vm: &Vm) {
    let mut console = vm.virtio_console().reader();
    // It printed its prompt before the suspend.
    vm.virtio_console().write_all(b"echo 'this is'-here; tty\n").unwrap();
    console.wait_for("this is-here", PATIENCE).unwrap();
    console.wait_for("/dev/hvc0", PATIENCE).unwrap();
}

/// Runs a shell command and returns its status and output.
fn run(agent: &GuestAgent, command: &str) -> (CommandStatus, String) {
    let output = agent.run(&GuestCommand::shell(command)).unwrap();
    (output.status, output.stdout_lossy().trim().to_owned())
}

fn commands(agent: &GuestAgent) {
    let command =
        GuestCommand::shell("cat; echo \"$NAME\"; echo wrong >&2; exit 3").env("NAME", "a  b").input("typed\n");
    let output = agent.run(&command).unwrap();
    assert_eq!(output.status, CommandStatus::Exited(3));
    assert_eq!((&*output.stdout_lossy(), &*output.stderr_lossy()), ("typed\na  b\n", "wrong\n"));
    let zeroes = agent.run(&GuestCommand::new("head").args(["-c", "3000000", "/dev/zero"])).unwrap();
    assert_eq!((zeroes.stdout.len(), zeroes.stdout_truncated), (MEBIBYTE, true));
    assert_eq!(run(agent, "kill -TERM $$").0, CommandStatus::Signalled(15));
    let missing = agent.run(&GuestCommand::new("/no/such/program")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::AgentRefused);
    let endless = GuestCommand::new("sleep").arg("86401").timeout(Duration::from_secs(1));
    assert_eq!(agent.run(&endless).unwrap_err().kind(), ErrorKind::Timeout);
    ends(agent, "86401");
}

fn streamed_commands(agent: &GuestAgent) {
    // The command waits for a file that is created once its first line has arrived: if output were read only at the
    // end, it would never end.
    let script = "echo waiting; until [ -e /run/go ]; do sleep 0.1; done; cat; echo \"$NAME\" >&2; exit 5";
    let command = GuestCommand::shell(script).env("NAME", "value").input("typed").timeout(PATIENCE);
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let status = agent.run_streamed(&command, |stream, bytes| {
        match stream {
            OutputStream::Stdout => output.extend(bytes),
            _ => errors.extend(bytes),
        }
        if output == b"waiting\n" {
            agent.write_file("/run/go", b"").unwrap();
        }
        ControlFlow::Continue(())
    });
    assert_eq!(status.unwrap(), CommandStatus::Exited(5));
    assert_eq!((&*output, &*errors), (&b"waiting\ntyped"[..], &b"value\n"[..]));
    // Including its child processes.
    let family = GuestCommand::shell("sleep 86402 & sleep 86402 & echo begun; wait").timeout(PATIENCE);
    let cancelled = agent.run_streamed(&family, |_, _| ControlFlow::Break(())).unwrap_err();
    assert_eq!(cancelled.kind(), ErrorKind::Cancelled, "{cancelled}");
    ends(agent, "86402");
    assert_eq!(run(agent, "ls -d /tmp/xvirt-* 2>/dev/null").1, "");
}

/// Waits until no process has this argument.
fn ends(agent: &GuestAgent, argument: &str) {
    let search = format!("grep -lz '^{argument}$' /proc/[0-9]*/cmdline | grep -v /self/");
    let began = Instant::now();
    loop {
        let found = run(agent, &search).1;
        if found.is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "still there: {found}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn files(agent: &GuestAgent) {
    let bytes = pattern(5 * MEBIBYTE + 123, 1);
    agent.write_file("/root/data", &bytes).unwrap();
    let sum = run(agent, "wc -c < /root/data; stat -c %U /root/data").1;
    assert_eq!(sum.lines().collect::<Vec<_>>(), [bytes.len().to_string(), "root".into()]);
    assert!(agent.read_file("/root/data", bytes.len()).unwrap() == bytes);
    assert_eq!(agent.read_file("/root/data", 100).unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(agent.read_file("/root/none", 100).unwrap_err().kind(), ErrorKind::AgentRefused);
    assert_eq!(agent.read_file("/proc/self/comm", 100).unwrap(), b"qemu-ga\n");
}

/// Checks that the VM's NIC has the guest's address, once the guest has set up its network.
fn has_address(agent: &GuestAgent, mac: MacAddress) {
    let began = Instant::now();
    loop {
        let interfaces = agent.network_interfaces().unwrap();
        assert!(interfaces.iter().any(|interface| interface.name == "lo"));
        let nic = interfaces.iter().find(|interface| interface.mac == Some(mac)).unwrap();
        let mut addresses = nic.addresses.iter().map(|address| (address.address, address.prefix));
        if addresses.any(|address| address == (IpAddr::from(GUEST), 24)) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{interfaces:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn clock(agent: &GuestAgent) {
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    agent.set_time(past).unwrap();
    let told = agent.time().unwrap().duration_since(past).unwrap();
    assert!(told < PATIENCE, "{told:?}");
    assert_eq!(run(agent, "date -u +%Y-%m-%d").1, "2020-09-13");
    agent.set_time(SystemTime::now()).unwrap();
}

fn frozen_file_systems(agent: &GuestAgent) {
    let frozen = agent.freeze_file_systems(PATIENCE).unwrap();
    let count = frozen.count();
    assert!(count >= 1);
    let refused = agent.run(&GuestCommand::new("true")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AgentRefused);
    assert_eq!(frozen.thaw().unwrap(), count);
    assert!(run(agent, "touch /root/thawed && sync").0.is_success());

    // A caller that hangs.
    let _frozen = agent.freeze_file_systems(Duration::from_millis(500)).unwrap();
    let began = Instant::now();
    while agent.run(&GuestCommand::shell("touch /root/thawed && sync")).is_err() {
        assert!(began.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(100));
    }
}
