//! xvirt as a library call, and as a separate process, which starts like the peers.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use xvirt_benches::Result;
use xvirt_core::config::{Boot, VmConfig};
use xvirt_core::host::Host;
use xvirt_core::vm::Vm;

use crate::contender::Contender;
use crate::guest::{Guest, Stopwatch};
use crate::process::Program;

pub(crate) fn contenders() -> Result<Vec<Box<dyn Contender>>> {
    let host = Host::probe()?;
    host.require_kvm()?;
    let program = std::env::current_exe()?;
    let process = Program::new("xvirt, process", false, move |guest| {
        let mut command = Command::new(&program);
        command.arg("boot").arg("--kernel").arg(&guest.kernel).arg("--append").arg(&guest.command_line);
        command.arg("--memory").arg(guest.memory.bytes().to_string());
        if let Some(initrd) = &guest.initrd {
            command.arg("--initrd").arg(initrd);
        }
        command
    });
    Ok(vec![Box::new(Library { host }), Box::new(process)])
}

/// Starts one guest and forwards its console until this process is killed.
pub(crate) fn boot(guest: &Guest) -> Result<()> {
    let vm = build(guest, &Host::probe()?)?;
    vm.start()?;
    // Rust's own standard output would buffer incomplete lines.
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    io::copy(&mut vm.console().reader(), &mut output)?;
    Ok(())
}

fn build(guest: &Guest, host: &Host) -> Result<Vm> {
    let mut boot = Boot::kernel(guest.kernel.as_path()).command_line(guest.command_line.as_str());
    if let Some(initrd) = &guest.initrd {
        boot = boot.initrd(initrd);
    }
    Ok(VmConfig::new("compared").memory(guest.memory).boot(boot).build(host)?)
}

struct Library {
    host: Host,
}

impl Contender for Library {
    fn name(&self) -> &str {
        "xvirt, library"
    }

    fn is_peer(&self) -> bool {
        false
    }

    fn run(&mut self, guest: &Guest) -> Result<Duration> {
        let vm = build(guest, &self.host)?;
        let mut console = vm.console().reader();
        let mut buffer = [0; 4096];
        let mut watch = Stopwatch::start(guest);
        vm.start()?;
        loop {
            let left = guest.timeout.saturating_sub(watch.elapsed());
            let count = console
                .read_timeout(&mut buffer, left)
                .map_err(|_| format!("no '{}' after {:.1?}: {}", guest.marker.trim(), watch.elapsed(), watch.last()))?;
            if let Some(time) = watch.take(&buffer[..count]) {
                return Ok(time);
            }
        }
    }
}
