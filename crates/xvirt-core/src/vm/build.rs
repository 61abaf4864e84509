//! From what a user wrote to a VM: what of it takes a look at the host.

use std::path::PathBuf;

use super::Vm;
use crate::Result;
use crate::config::{Disk, VmConfig};
use crate::disk;
use crate::host::Host;
use crate::net::MacAddress;

impl VmConfig {
    /// Makes the VM, halted.
    ///
    /// # Errors
    /// The configuration makes no sense, or `host` cannot run VMs; the message says what to do.
    pub fn build(mut self, host: &Host) -> Result<Vm> {
        self.check()?;
        host.require_kvm()?;
        for nic in &mut self.nics {
            nic.mac.get_or_insert_with(MacAddress::random);
        }
        Vm::new(self, host.kvm_device())
    }
}

impl Disk {
    /// The image at `path`, whose format is found out now by looking at it. A raw image of a guest that can write an
    /// image header at its start must be given with [`raw`](Self::raw) instead.
    ///
    /// # Errors
    /// The file is missing or unreadable, or is a damaged or unsupported image. It is not locked yet.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let format = disk::inspect(&path, None)?.format;
        Ok(Self::image(path, format))
    }
}
