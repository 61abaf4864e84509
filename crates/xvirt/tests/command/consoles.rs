//! `xvirt vm console`, from a terminal and from a script.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::support::{Ran, Service};

const LONG: Duration = Duration::from_secs(60);

/// The two sides of a new terminal.
fn terminal() -> (File, File) {
    let mine: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&mine).unwrap();
    unlockpt(&mine).unwrap();
    let name = ptsname(&mine, Vec::new()).unwrap();
    let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (mine.into(), theirs)
}

#[test]
fn every_key_reaches_the_guest_until_the_one_that_leaves_and_the_terminal_is_as_before() {
    let service = Service::new();
    service.fake.vm("web", "Running");
    let consoles = service.consoles();
    let (mut mine, theirs) = terminal();
    let end = || Stdio::from(theirs.try_clone().unwrap());
    let mut command = service.command(&["vm", "console", "web"]);
    let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    let mut console = consoles.recv_timeout(LONG).unwrap();
    console.write_all(b"login: ").unwrap();
    let mut shown = Vec::new();
    while !shown.ends_with(b"login: ") {
        let mut byte = [0];
        mine.read_exact(&mut byte).unwrap();
        shown.extend(byte);
    }
    assert!(String::from_utf8_lossy(&shown).contains("Ctrl-] leaves."));
    assert!(
        !tcgetattr(&theirs).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    );
    // Ctrl-C is the guest's.
    mine.write_all(b"ro\x03ot\r").unwrap();
    let mut typed = [0; 6];
    console.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"ro\x03ot\r");
    mine.write_all(b"x\x1dy").unwrap();
    let mut rest = Vec::new();
    console.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"x");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(tcgetattr(&theirs).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
}

#[test]
fn a_script_sends_its_input_and_prints_the_output_until_the_console_ends() {
    let service = Service::new();
    service.fake.vm("web", "Running");
    let consoles = service.consoles();
    let mut command = service.command(&["vm", "console", "web"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"halt\x1d\n").unwrap();
    let mut console = consoles.recv_timeout(LONG).unwrap();
    let mut typed = [0; 6];
    console.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"halt\x1d\n");
    console.write_all(b"bye\n").unwrap();
    drop(console);
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "bye\n", ""));
}

#[test]
fn a_vm_that_does_not_run_has_no_console() {
    let service = Service::new();
    service.fake.vm("web", "Halted");
    let ran = service.run(&["vm", "console", "web"]);
    assert_eq!(ran.status, Some(1));
    assert!(
        ran.stderr.starts_with("xvirt: cannot connect to the console of the VM \"web\": VM_BAD_POWER_STATE"),
        "{ran:?}"
    );
}
