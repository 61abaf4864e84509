//! A whole VM in one program: two disks, a network card, an interactive console, and a clean shutdown.
//!
//! `cargo run --release --example quickstart` runs the demo guest, a small kernel that comes with xvirt, so it needs no
//! disk image and works wherever `/dev/kvm` can be opened. The network card needs root (or CAP_NET_ADMIN) and is
//! otherwise left out. `scripts/quickstart` does the same with a stock Debian.

use std::error::Error;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use xvirt_core::config::{Boot, ByteSize, Disk, Nic, VmConfig};
use xvirt_core::console::ConsoleReader;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::net::Tap;

const USAGE: &str = "\
Starts a VM with the demo guest, uses its disks, network and console, and shuts it down.

usage: quickstart [--help]

Needs /dev/kvm. The network card needs root or CAP_NET_ADMIN, and is left out without.";

const HOST_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
const GUEST_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);

/// The time limit of each step, which allows for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("quickstart: unknown option {other}; see --help");
            return ExitCode::from(2);
        }
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Every error of xvirt says what failed, why, and what to do about it.
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut steps = Steps::new();

    // Probe the host. A missing or inaccessible KVM is reported here, with the remedy.
    let host = Host::probe()?;
    host.require_kvm()?;
    steps.done("probed the host");

    // Two empty disks in a folder that is removed with this program.
    let folder = tempfile::tempdir()?;
    let (root, data) = (folder.path().join("root.raw"), folder.path().join("data.raw"));
    for path in [&root, &data] {
        disk::create(path, ImageFormat::Raw, ByteSize::gib(1).bytes())?;
    }
    steps.done("made two disks of 1 GiB, which take no space yet");

    // A network with only this host and the guest.
    let tap = match make_tap() {
        Ok(tap) => {
            steps.done(&format!("made {}, the host's end of the network", tap.name()));
            Some(tap)
        }
        Err(error) => {
            steps.done(&format!("left the network out: {error}"));
            None
        }
    };

    // The tasks of the demo guest: start its CPUs, write its disks and compare, answer the network and the console.
    let modes = [Mode::Smp, Mode::Blk, Mode::Net, Mode::Echo];
    let line = CommandLine::new(modes).blocks(64).net_every(1000).ip(GUEST_IP);
    let mut config = VmConfig::new("quickstart")
        .vcpus(2)
        .memory(ByteSize::mib(128))
        .boot(Boot::kernel(demo::kernel()).command_line(line.to_string()))
        .disk(Disk::raw(&root).serial("root"))
        .disk(Disk::raw(&data).serial("data"));
    if let Some(tap) = &tap {
        config = config.nic(Nic::tap_descriptor(tap.as_fd().try_clone_to_owned()?));
    }
    let vm = config.build(&host)?;
    vm.start()?;
    steps.done("started the VM");

    // All its output from the first byte, whenever the reader is created.
    let mut console = vm.console().reader();
    let text = show(&mut console, demo::ECHO_READY)?;
    for number in 0..2 {
        if !text.contains(&format!("blk {number}: ok")) {
            return Err(format!("the guest could not use disk {number}").into());
        }
    }
    steps.done("2 vCPUs are up, and the guest read back what it wrote to both disks");

    vm.console().write_all(b"ping\n")?;
    show(&mut console, "pong")?;
    steps.done("sent `ping` to the console, and the guest answered");

    if tap.is_some() {
        match ping(GUEST_IP) {
            Ok(()) => steps.done("pinged the guest over the network"),
            Err(Ping::NoSuchProgram) => steps.done("did not ping: the program ping is missing; install iputils-ping"),
            Err(Ping::NoAnswer) => return Err(format!("the guest at {GUEST_IP} does not answer pings").into()),
        }
    }

    vm.clean_shutdown(PATIENCE)?;
    show(&mut console, demo::POWER_BUTTON)?;
    steps.done("pressed the power button, and the guest powered off");

    steps.summary();
    Ok(())
}

fn make_tap() -> xvirt_core::Result<Tap> {
    let tap = Tap::create(None)?;
    tap.set_address(HOST_IP, 24)?;
    tap.set_up()?;
    Ok(tap)
}

/// Prints the console output up to the end of the line with `pattern`, and returns it.
fn show(console: &mut ConsoleReader, pattern: &str) -> xvirt_core::Result<String> {
    let mut text = console.wait_for(pattern, PATIENCE)?;
    text.push_str(&console.wait_for("\n", PATIENCE)?);
    for line in text.lines().filter(|line| !line.is_empty()) {
        println!("    | {line}");
    }
    Ok(text)
}

enum Ping {
    NoSuchProgram,
    NoAnswer,
}

fn ping(address: Ipv4Addr) -> Result<(), Ping> {
    let address = address.to_string();
    let output =
        Command::new("ping").args(["-c", "1", "-W", "10", &address]).output().map_err(|_| Ping::NoSuchProgram)?;
    if output.status.success() { Ok(()) } else { Err(Ping::NoAnswer) }
}

/// The steps of this program, with the time that each took.
struct Steps {
    began: Instant,
    last: Instant,
}

impl Steps {
    fn new() -> Self {
        let now = Instant::now();
        Self { began: now, last: now }
    }

    fn done(&mut self, what: &str) {
        println!("{:8.1} ms  {what}", self.last.elapsed().as_secs_f64() * 1000.0);
        self.last = Instant::now();
    }

    fn summary(&self) {
        println!("{:8.1} ms  in total", self.began.elapsed().as_secs_f64() * 1000.0);
    }
}
