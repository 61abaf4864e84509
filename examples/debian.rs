//! Boots a Debian disk, works in it over its serial console, and shuts it down.
//!
//! `scripts/quickstart` makes the disk and runs this where a stock kernel can run. The guest gets two disks (its root
//! and an empty one) and a NIC on a network of just the host, 10.77.0.1, and the guest, 10.77.0.2.

use std::error::Error;
use std::io::{BufWriter, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use xvirt_core::config::{Boot, ByteSize, Disk, Nic, VmConfig};
use xvirt_core::console::ConsoleReader;
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::{Host, KvmStatus};
use xvirt_core::net::Tap;
use xvirt_core::vm::{PowerState, Vm};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "\
usage: debian --disk FILE [OPTION]...

Boots a Debian disk, works in it over its serial console, and shuts it down.

  --disk FILE       the root disk, whose system logs root in on ttyS0 (scripts/debian-disk makes one)
  --vcpus N         virtual processors (2)
  --memory SIZE     memory, such as 512MiB (512MiB)
  --data-size SIZE  size of the empty second disk (256MiB)
  --command TEXT    a command to run in the guest (uname -a; nproc; lsblk; ip -br addr)
  --append TEXT     added to the kernel's command line
  --timeout S       how long each step in the guest may take, in seconds (180)
  --help            this text

Needs a KVM with hardware help and, for the network, root or CAP_NET_ADMIN.
";

const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const PREFIX: u8 = 24;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("debian: {error}; see --help");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("debian: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::default();

    let host = Host::probe()?;
    host.require_kvm()?;
    if matches!(host.kvm(), KvmStatus::Emulated { .. }) {
        return Err("this host's KVM has no help of the hardware, so a stock kernel cannot run on it; \
                    run it on the test host: scripts/testhost -- PROGRAM"
            .into());
    }
    steps.done("probed the host");

    let data = Scratch::new("data.qcow2")?;
    disk::create(&data.0, ImageFormat::Qcow2, options.data_size.bytes())?;
    let tap = Tap::create(None)?;
    tap.set_address(HOST, PREFIX)?;
    tap.set_up()?;
    steps.done(&format!("made a data disk of {} and the tap {}", options.data_size, tap.name()));

    let vm = VmConfig::new("debian")
        .vcpus(options.vcpus)
        .memory(options.memory)
        .boot(Boot::from_disk().command_line(&options.append))
        .disk(Disk::raw(&options.disk).serial("root"))
        .disk(Disk::qcow2(&data.0).serial("data"))
        .nic(Nic::tap_descriptor(tap.as_fd().try_clone_to_owned()?))
        .build(&host)?;
    let console = vm.console().reader();
    let shown = thread::spawn(move || show(console));
    vm.start()?;
    steps.done(&format!("started a VM of {} vCPUs and {}", options.vcpus, options.memory));

    let mut guest = Shell { vm: &vm, console: vm.console().reader(), timeout: options.timeout };
    guest.log_in()?;
    steps.done("Debian booted from its disk and logged in");

    guest.run(&options.command)?;
    steps.done("ran a command in it");

    guest.run("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && echo hello >/mnt/file && sync && df -h / /mnt")?;
    steps.done("made a file system on the data disk and wrote to it");

    ping_from_host()?;
    guest.run(&format!("ping -c 3 -i 0.2 {HOST}"))?;
    steps.done("pinged from host to guest and from guest to host");

    vm.clean_shutdown(options.timeout)?;
    steps.done("pressed the power button; Debian shut down");

    // The console ends with the VM, and then everything of it has been shown.
    drop(vm);
    let _ = shown.join();
    steps.summary();
    Ok(())
}

/// A shell of the guest's on its serial console, driven as a person would.
struct Shell<'a> {
    vm: &'a Vm,
    console: ConsoleReader,
    timeout: Duration,
}

impl Shell<'_> {
    /// Waits for the shell, and has it show in its prompt how each command ended.
    fn log_in(&mut self) -> Result<()> {
        self.wait_for(":~# ")?;
        self.vm.console().write_all(b"stty cols 160; PS1='[$?] \\u@\\h:\\w# '\n")?;
        self.status()?;
        Ok(())
    }

    /// Types a command and waits until it has ended well.
    fn run(&mut self, command: &str) -> Result<()> {
        self.vm.console().write_all(format!("{command}\n").as_bytes())?;
        match self.status()?.as_str() {
            "0" => Ok(()),
            status => Err(format!("in the guest, `{command}` failed with status {status}").into()),
        }
    }

    /// Waits for the prompt, as in `[0] root@debian:~# `, and reads the status in it.
    fn status(&mut self) -> Result<String> {
        let text = self.wait_for("] root@")?;
        let status = text.trim_end_matches("] root@").rsplit('[').next().unwrap_or_default().to_owned();
        self.wait_for("# ")?;
        Ok(status)
    }

    /// Waits for output, and no longer than the guest lives.
    fn wait_for(&mut self, pattern: &str) -> Result<String> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.console.wait_for(pattern, Duration::from_secs(1)) {
                Ok(text) => return Ok(text),
                Err(error) if self.vm.power_state() != PowerState::Running => {
                    return Err(format!("the guest stopped too early: {error}").into());
                }
                Err(error) if Instant::now() >= deadline => {
                    return Err(format!("gave up after {} s: {error}", self.timeout.as_secs()).into());
                }
                Err(_) => {}
            }
        }
    }
}

fn ping_from_host() -> Result<()> {
    let guest = GUEST.to_string();
    let output = Command::new("ping")
        .args(["-c", "3", &guest])
        .output()
        .map_err(|error| format!("cannot run ping: {error}; install iputils-ping"))?;
    print!("host# ping -c 3 {guest}\n{}", String::from_utf8_lossy(&output.stdout));
    if output.status.success() { Ok(()) } else { Err(format!("the guest at {guest} does not answer pings").into()) }
}

/// Prints what the guest prints, line by line behind a bar, without the escape sequences meant for terminals.
fn show(mut console: ConsoleReader) {
    let mut chunk = [0; 4096];
    let mut line = Vec::new();
    while let Ok(count @ 1..) = console.read(&mut chunk) {
        for byte in &chunk[..count] {
            line.push(*byte);
            if *byte == b'\n' {
                print_line(&line);
                line.clear();
            }
        }
    }
    print_line(&line);
}

fn print_line(line: &[u8]) {
    let mut text = String::new();
    let mut chars = String::from_utf8_lossy(line).into_owned().chars().collect::<Vec<_>>().into_iter();
    while let Some(char) = chars.next() {
        match char {
            // An escape sequence ends with its first letter.
            '\x1b' => drop(chars.find(char::is_ascii_alphabetic)),
            char if char.is_control() && char != '\t' => {}
            char => text.push(char),
        }
    }
    if !text.is_empty() {
        println!("  | {text}");
    }
}

/// What was done, and how long each took.
struct Steps {
    began: Instant,
    last: Instant,
    done: Vec<(String, Duration)>,
}

impl Default for Steps {
    fn default() -> Self {
        let now = Instant::now();
        Self { began: now, last: now, done: Vec::new() }
    }
}

impl Steps {
    fn done(&mut self, what: &str) {
        let took = self.last.elapsed();
        println!("== {what} ({:.2} s)", took.as_secs_f64());
        self.last = Instant::now();
        self.done.push((what.to_owned(), took));
    }

    fn summary(&self) {
        let mut out = BufWriter::new(std::io::stdout().lock());
        // Whoever reads may have seen enough.
        let _ = writeln!(out);
        for (what, took) in &self.done {
            let _ = writeln!(out, "{:8.2} s  {what}", took.as_secs_f64());
        }
        let _ = writeln!(out, "{:8.2} s  in all", self.began.elapsed().as_secs_f64());
    }
}

/// A file in a folder of its own that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("xvirt-debian-{}", std::process::id()));
        std::fs::create_dir(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        Ok(Self(folder.join(name)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = self.0.parent() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

struct Options {
    disk: PathBuf,
    vcpus: u32,
    memory: ByteSize,
    data_size: ByteSize,
    command: String,
    append: String,
    timeout: Duration,
}

impl Options {
    /// Reads the arguments; none if help is wanted.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self {
            disk: PathBuf::new(),
            vcpus: 2,
            memory: ByteSize::mib(512),
            data_size: ByteSize::mib(256),
            command: "uname -a; nproc; lsblk; ip -br addr".into(),
            append: String::new(),
            timeout: Duration::from_secs(180),
        };
        while let Some(name) = arguments.next() {
            if name == "--help" || name == "-h" {
                return Ok(None);
            }
            let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("{name} needs a number, not '{text}'"));
            match name.as_str() {
                "--disk" => options.disk = value()?.into(),
                "--vcpus" => options.vcpus = number(value()?)?,
                "--memory" => options.memory = value()?.parse()?,
                "--data-size" => options.data_size = value()?.parse()?,
                "--command" => options.command = value()?,
                "--append" => options.append = value()?,
                "--timeout" => options.timeout = Duration::from_secs(number(value()?)?.into()),
                _ => return Err(format!("there is no option {name}").into()),
            }
        }
        if options.disk == Path::new("") {
            return Err("--disk FILE is missing".into());
        }
        Ok(Some(options))
    }
}
