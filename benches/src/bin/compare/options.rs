//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use xvirt_benches::Result;
use xvirt_benches::programs::Guest;
use xvirt_core::config::ByteSize;

pub(crate) const USAGE: &str = "\
usage: compare [--runs N] [--guest demo]
       compare [--runs N] --guest linux --kernel VMLINUX --initrd INITRAMFS [--append WORDS] [--marker TEXT]
either may have: [--memory SIZE] [--timeout SECONDS] [--only NAME]...

Starts the same guest under xvirt (as a library call and as a process of its own) and under every peer there is, in
turns, and prints how long each takes until the guest's marker is on the serial port: for the demo guest its first
byte, for Linux a line that the init in the initramfs prints on /dev/console ('xvirt-init-reached' unless told
otherwise). The kernel must be an uncompressed one with a PVH entry, which is what all of them start.

The peers: QEMU is the program in QEMU, or qemu-system-x86_64 on the PATH (QEMU_DATA: its folders of firmware, as in
PATH); FIRECRACKER and CLOUD_HYPERVISOR name those programs. Peers that are not there are left out and named. --only
measures those whose name contains NAME, such as 'library' or 'firecracker'; it can be given several times.";

/// The command.
pub(crate) enum Command {
    Help,
    Compare(Options),
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) runs: usize,
    /// Parts of the names of those to measure; empty for all.
    only: Vec<String>,
    linux: bool,
    kernel: Option<PathBuf>,
    initrd: Option<PathBuf>,
    append: Option<String>,
    marker: Option<String>,
    memory: Option<ByteSize>,
    timeout: Option<Duration>,
}

/// Quiet, because printing to a serial port takes longer than anything else.
const LINUX_COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1";
const LINUX_MARKER: &str = "xvirt-init-reached";

pub(crate) fn parse(arguments: &[String]) -> Result<Command> {
    let mut options = Options {
        runs: 11,
        only: Vec::new(),
        linux: false,
        kernel: None,
        initrd: None,
        append: None,
        marker: None,
        memory: None,
        timeout: None,
    };
    let mut words = arguments.iter();
    while let Some(option) = words.next() {
        if option == "--help" || option == "-h" {
            return Ok(Command::Help);
        }
        let value = words.next().ok_or_else(|| wrong(&format!("{option} needs a value")))?;
        options.set(option, value)?;
    }
    Ok(Command::Compare(options))
}

impl Options {
    fn set(&mut self, option: &str, value: &str) -> Result<()> {
        let number = || value.parse::<u32>().map_err(|_| wrong(&format!("{option} needs a number, not '{value}'")));
        match option {
            "--runs" => self.runs = number()?.max(1) as usize,
            "--only" => self.only.push(value.to_owned()),
            "--timeout" => self.timeout = Some(Duration::from_secs(number()?.into())),
            "--guest" if value == "demo" => self.linux = false,
            "--guest" if value == "linux" => self.linux = true,
            "--kernel" => self.kernel = Some(value.into()),
            "--initrd" => self.initrd = Some(value.into()),
            "--append" => self.append = Some(value.into()),
            "--marker" => self.marker = Some(value.into()),
            "--memory" => self.memory = Some(value.parse()?),
            _ => return Err(wrong(&format!("there is no option {option} {value}"))),
        }
        Ok(())
    }

    /// Whether to measure the contender of this name.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    /// The requested guest; the demo guest's image is written to `folder`.
    pub(crate) fn guest(&self, folder: &Path) -> Result<Guest> {
        if self.linux { self.linux_guest() } else { self.demo_guest(folder) }
    }

    fn demo_guest(&self, folder: &Path) -> Result<Guest> {
        if self.kernel.is_some() || self.initrd.is_some() {
            return Err(wrong("--kernel and --initrd go with --guest linux"));
        }
        let guest = Guest::demo(folder)?;
        let (memory, timeout) = (self.memory.unwrap_or(guest.memory), self.timeout.unwrap_or(guest.timeout));
        Ok(Guest { memory, timeout, ..guest })
    }

    fn linux_guest(&self) -> Result<Guest> {
        let kernel = self.kernel.clone().ok_or_else(|| wrong("--guest linux needs --kernel"))?;
        for path in [Some(&kernel), self.initrd.as_ref()].into_iter().flatten() {
            if !path.is_file() {
                return Err(wrong(&format!("there is no file {}", path.display())));
            }
        }
        Ok(Guest {
            kernel,
            initrd: self.initrd.clone(),
            command_line: self.append.clone().unwrap_or_else(|| LINUX_COMMAND_LINE.to_owned()),
            marker: self.marker.clone().unwrap_or_else(|| LINUX_MARKER.to_owned()),
            memory: self.memory.unwrap_or(ByteSize::mib(256)),
            timeout: self.timeout.unwrap_or(Duration::from_secs(120)),
        })
    }
}

fn wrong(what: &str) -> Box<dyn std::error::Error> {
    format!("{what}\n\n{USAGE}").into()
}
