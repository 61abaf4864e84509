//! xvirt in a process of its own, like QEMU.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;

use xvirt_benches::Result;
use xvirt_core::config::{Boot, Disk, Nic, VmConfig};
use xvirt_core::host::Host;

use crate::Contender;
use crate::guest::{Guest, MEMORY};

/// Through the page cache, and past it.
pub(crate) fn contenders() -> Result<[Contender; 2]> {
    let program = std::env::current_exe()?;
    Ok([("xvirt", false), ("xvirt direct", true)].map(|(name, direct)| contender(name, program.clone(), direct)))
}

fn contender(name: &str, program: PathBuf, direct: bool) -> Contender {
    let command = move |guest: &Guest| {
        let mut command = Command::new(&program);
        command.arg("boot").arg("--kernel").arg(&guest.kernel).arg("--append").arg(&guest.append);
        if let Some(initrd) = &guest.initrd {
            command.arg("--initrd").arg(initrd);
        }
        for disk in &guest.disks {
            command.arg("--disk").arg(disk.argument());
        }
        if let Some(tap) = &guest.tap {
            command.arg("--tap").arg(tap);
        }
        if direct {
            command.arg("--direct");
        }
        command
    };
    Contender { name: name.to_owned(), command: Box::new(command) }
}

/// Boots the guest and forwards its serial port until this process is killed.
pub(crate) fn boot(guest: &Guest) -> Result<()> {
    let mut boot = Boot::kernel(guest.kernel.as_path()).command_line(guest.append.as_str());
    if let Some(initrd) = &guest.initrd {
        boot = boot.initrd(initrd);
    }
    let mut config = VmConfig::new("measured").memory(MEMORY).boot(boot);
    for disk in &guest.disks {
        let opened = match disk.format_name() {
            "raw" => Disk::raw(&disk.path),
            _ => Disk::qcow2(&disk.path),
        };
        config = config.disk(if guest.direct { opened.direct() } else { opened });
    }
    if let Some(tap) = &guest.tap {
        config = config.nic(Nic::tap(tap));
    }
    let vm = config.build(&Host::probe()?)?;
    vm.start()?;
    // Rust's own standard output would buffer incomplete lines.
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut reader = vm.console().reader();
    std::thread::spawn(move || io::copy(&mut reader, &mut output));
    let mut input = [0; 256];
    loop {
        let count = io::stdin().read(&mut input)?;
        if count == 0 {
            return Ok(());
        }
        vm.console().write_all(&input[..count])?;
    }
}
