//! Builds VMs and opens images: the parts of a configuration that access the host.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use super::Vm;
use super::devices::Devices;
use super::saved::{Description, SavedState};
use crate::config::{CpuBaseline, Disk, VmConfig};
use crate::disk;
use crate::host::Host;
use crate::machine;
use crate::net::MacAddress;
use crate::{Error, ErrorKind, Result};

impl VmConfig {
    /// Builds the VM, halted.
    ///
    /// # Errors
    /// The configuration is invalid, or `host` cannot run VMs; the message states the remedy.
    pub fn build(self, host: &Host) -> Result<Vm> {
        let mut config = self.checked(host)?;
        let devices = Devices::new(mem::take(&mut config.disks), mem::take(&mut config.nics))?;
        Vm::new(config, devices, None, host)
    }

    /// Builds the VM that is described so, with its devices at their places: suspended to the file `saved`, or halted.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if it has not as many disks and network interfaces.
    pub(super) fn build_described(
        self,
        host: &Host,
        description: &Description,
        saved: Option<Arc<dyn SavedState>>,
    ) -> Result<Vm> {
        let Description { disks, nics, .. } = description;
        for (what, count, described) in
            [("disks", self.disks.len(), disks.len()), ("network interfaces", self.nics.len(), nics.len())]
        {
            if count != described {
                let what =
                    format!("VM '{}' had {described} {what}, and the configuration has {count}", description.name);
                return Err(Error::new(ErrorKind::InvalidConfig, what)
                    .with_remedy("give the configuration that the VM had, with other paths where they differ here"));
            }
        }
        let mut config = self.checked(host)?;
        let disks = mem::take(&mut config.disks).into_iter().zip(disks);
        let nics = mem::take(&mut config.nics).into_iter().zip(nics);
        Vm::new(config, Devices::at(disks, nics), saved, host)
    }

    /// The configuration with everything that `build` chooses, if `host` can run it.
    fn checked(mut self, host: &Host) -> Result<Self> {
        self.check()?;
        host.require_kvm()?;
        for nic in &mut self.nics {
            nic.mac.get_or_insert_with(MacAddress::random);
        }
        Ok(self)
    }
}

impl Host {
    /// The CPU features that this host has for its guests, to be combined with those of others by [`CpuBaseline::of`].
    ///
    /// # Errors
    /// [`HostUnsupported`](crate::ErrorKind::HostUnsupported) and others if the host cannot run VMs; the message states
    /// the remedy.
    pub fn cpu_baseline(&self) -> Result<CpuBaseline> {
        self.require_kvm()?;
        machine::cpu_baseline(self)
    }
}

impl Disk {
    /// The image at `path`, whose format is detected now. A raw image of a guest that can write an image header at its
    /// start must be given with [`raw`](Self::raw) instead.
    ///
    /// # Errors
    /// The file is missing, unreadable, damaged, or an unsupported image. It is not locked yet.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let format = disk::inspect(&path, None)?.format;
        Ok(Self::image(path, format))
    }
}
