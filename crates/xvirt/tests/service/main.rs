//! The host service as systemd starts it, with the demo guest on this machine's `/dev/kvm`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_testing::worker::worker_program;

const LONG: Duration = Duration::from_secs(120);

/// The folders of a host, and its service while it runs.
struct Host {
    folder: TempDir,
    manager: UnixDatagram,
    service: Option<Child>,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        manager.set_read_timeout(Some(LONG)).unwrap();
        Self { folder, manager, service: None }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command of a service over these folders.
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xvirt"));
        command.args(["host", "run", "--root"]).arg(self.path().join("root"));
        command.arg("--run").arg(self.path().join("run")).arg("--worker").arg(worker_program());
        command.env("NOTIFY_SOCKET", self.path().join("notify"));
        command
    }

    /// Starts the service, and waits until it says that it is ready.
    fn start(&mut self) {
        self.service = Some(self.command().spawn().unwrap());
        assert_eq!(self.notified(), "READY=1");
    }

    /// Stops the service as systemd does.
    fn stop(&mut self) {
        let mut service = self.service.take().unwrap();
        kill_process(Pid::from_child(&service), Signal::TERM).unwrap();
        assert_eq!(self.notified(), "STOPPING=1");
        assert!(service.wait().unwrap().success());
    }

    fn notified(&self) -> String {
        let mut state = [0; 64];
        let length = self.manager.recv(&mut state).unwrap();
        String::from_utf8_lossy(&state[..length]).into_owned()
    }

    /// A client of it.
    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xvirt"));
        command.arg("--socket").arg(self.path().join("run/xvirt.sock")).args(arguments).stdin(Stdio::null());
        command
    }

    /// What a client prints.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.client(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The first tick of the guest after this one, and how often it has said hello.
    fn tick_after(&self, after: u64) -> (u64, usize) {
        let mut console = self.client(&["vm", "console", "web"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut hellos = 0;
        let lines = BufReader::new(console.stdout.take().unwrap()).lines().map(Result::unwrap);
        let tick = lines
            .inspect(|line| hellos += usize::from(line.starts_with(demo::STARTED)))
            .find_map(|line| demo::tick(&line).filter(|tick| *tick > after));
        let _ = console.kill();
        console.wait().unwrap();
        (tick.expect("the console ended"), hellos)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.client(&["vm", "shutdown", "--all", "--patience", "0"]).output();
        if let Some(service) = &mut self.service {
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

/// Whether this machine can run VMs; otherwise says which test is skipped.
fn can_run(test: &str) -> bool {
    let kvm = xvirt_core::host::Host::probe().unwrap().require_kvm();
    if let Err(error) = &kvm {
        println!("SKIPPED {test}: {error}");
    }
    kvm.is_ok()
}

#[test]
fn a_vm_runs_on_while_the_service_is_stopped_and_killed() {
    if !can_run("a_vm_runs_on_while_the_service_is_stopped_and_killed") {
        return;
    }
    let mut host = Host::new();
    host.start();
    let socket = host.path().join("run/xvirt.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    fs::write(host.path().join("root/kernels/demo"), demo::kernel()).unwrap();
    let line = CommandLine::new([Mode::Hello, Mode::Timer]).hertz(50).ticks(0).to_string();
    host.run(&["vm", "create", "web", "--memory", "64M", "--kernel", "demo", "--command-line", &line]);
    host.run(&["vm", "start", "web"]);
    let (tick, hellos) = host.tick_after(0);
    assert_eq!(hellos, 1);

    // Another service has no place beside it.
    let other = host.command().output().unwrap();
    assert_eq!(other.status.code(), Some(1), "{other:?}");

    host.stop();
    assert!(!socket.exists());
    host.start();
    let (tick, hellos) = host.tick_after(tick);
    assert_eq!(hellos, 1, "the guest was started again");

    let mut service = host.service.take().unwrap();
    service.kill().unwrap();
    service.wait().unwrap();
    host.start();
    assert_eq!(host.tick_after(tick).1, 1, "the guest was started again");
    assert!(host.run(&["vm", "list"]).contains("Running"));

    host.run(&["vm", "stop", "web"]);
    host.run(&["vm", "destroy", "web"]);
    assert_eq!(host.run(&["--json", "vm", "list"]), "[]\n");
    host.stop();
}

#[test]
fn a_vm_is_changed_copied_and_gets_disks_while_it_runs() {
    if !can_run("a_vm_is_changed_copied_and_gets_disks_while_it_runs") {
        return;
    }
    let mut host = Host::new();
    host.start();
    fs::write(host.path().join("root/kernels/demo"), demo::kernel()).unwrap();
    let line = CommandLine::new([Mode::HotPlug]).to_string();
    host.run(&["vm", "create", "web", "--memory", "64M", "--kernel", "demo"]);
    host.run(&["vm", "set", "web", "--command-line", &line, "--memory", "96M", "--vcpus", "2", "--autostart", "true"]);
    let shown = host.run(&["vm", "show", "web"]);
    assert!(shown.contains("96 MiB") && shown.contains("2 of 2") && shown.contains("autostart      yes"), "{shown}");

    let folder = host.path().join("more");
    host.run(&["sr", "create", "more", folder.to_str().unwrap()]);
    host.run(&["disk", "create", "data", "--size", "8M", "--format", "qcow2", "--repository", "more"]);
    let image = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    assert_eq!(image.extension().unwrap(), "qcow2");
    host.run(&["vm", "start", "web"]);
    host.run(&["disk", "attach", "data", "web"]);
    host.run(&["disk", "limit", "data", "web", "--operations", "100"]);
    host.run(&["disk", "resize", "data", "16M"]);
    let disks = host.run(&["disk", "list"]);
    let row: Vec<_> = disks.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[0], row[1], row[2]), ("data", "16", "MiB"), "{disks}");
    assert!(row.contains(&"web"), "{disks}");
    let refused = host.client(&["disk", "destroy", "data"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("VDI_IN_USE"), "{refused:?}");
    host.run(&["disk", "detach", "data", "web"]);
    host.run(&["disk", "destroy", "data"]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    host.run(&["sr", "forget", "more"]);

    host.run(&["vm", "stop", "web"]);
    let copy = host.run(&["vm", "clone", "web", "copy"]);
    host.run(&["vm", "set", copy.trim(), "--name", "other"]);
    assert!(host.run(&["vm", "list"]).contains("other"));
    for vm in ["web", "other"] {
        host.run(&["vm", "destroy", vm]);
    }
    assert_eq!(host.run(&["--json", "message", "list"]), "[]\n");
    host.stop();
}
