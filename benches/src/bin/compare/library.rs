//! xvirt as a library call.

use std::time::Duration;

use xvirt_benches::Result;
use xvirt_benches::programs::{Guest, Stopwatch};
use xvirt_core::config::{Boot, VmConfig};
use xvirt_core::host::Host;
use xvirt_core::vm::Vm;

use crate::contender::Contender;

pub(crate) struct Library {
    host: Host,
}

impl Library {
    pub(crate) fn new() -> Result<Self> {
        let host = Host::probe()?;
        host.require_kvm()?;
        Ok(Self { host })
    }
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

fn build(guest: &Guest, host: &Host) -> Result<Vm> {
    let mut boot = Boot::kernel(guest.kernel.as_path()).command_line(guest.command_line.as_str());
    if let Some(initrd) = &guest.initrd {
        boot = boot.initrd(initrd);
    }
    Ok(VmConfig::new("compared").memory(guest.memory).boot(boot).build(host)?)
}
