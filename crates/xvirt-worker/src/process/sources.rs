//! The names of what a VM is built from.
//!
//! A configuration has paths and names, and the VM gets open descriptors in their place. A service that finds the worker
//! later wants the configuration with the names, so they are kept.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use xvirt_core::config::{Boot, BootFile, Disk, DiskSource, Nic, NicBackendConfig, VmConfig};
use xvirt_core::disk::{ImageDescriptor, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::net::FrameStream;
use xvirt_core::vm::Vm;

use crate::protocol::{Build, Json, Layer, NicBackend, Slot};
use crate::{Error, Result, kind};

/// The descriptors that came with a request; each may be used once.
#[derive(Debug)]
pub(super) struct Received(Vec<Option<OwnedFd>>);

impl Received {
    pub(super) fn new(descriptors: Vec<OwnedFd>) -> Self {
        Self(descriptors.into_iter().map(Some).collect())
    }

    /// Takes the descriptor in a slot; `what` names its purpose in the error.
    pub(super) fn take(&mut self, Slot(index): Slot, what: &str) -> Result<OwnedFd> {
        let found = self.0.get_mut(index as usize).and_then(Option::take);
        found.ok_or_else(|| invalid(format!("descriptor {index}, for {what}, was not sent, or is used twice")))
    }

    /// Adds the descriptors of a request about these images, whose slots are then those here.
    pub(super) fn append(&mut self, other: Self, disks: &[Vec<Layer>]) -> Vec<Vec<Layer>> {
        let before = self.0.len() as u32;
        self.0.extend(other.0);
        let moved = |layer: &Layer| Layer { file: Slot(layer.file.0.saturating_add(before)), ..layer.clone() };
        disks.iter().map(|layers| layers.iter().map(moved).collect()).collect()
    }

    /// The report of the host, with the descriptor of `/dev/kvm`.
    pub(super) fn host(&mut self, report: &Json, kvm: Option<Slot>) -> Result<Host> {
        let host: Host = report.read("the report of the host")?;
        let no_kvm = || Error::new(kind::INVALID_CONFIG, "there is no descriptor of /dev/kvm");
        Ok(host.with_kvm(self.take(kvm.ok_or_else(no_kvm)?, "/dev/kvm")?)?)
    }

    fn given(&mut self, slot: Option<Slot>, what: &str) -> Result<OwnedFd> {
        let slot = slot.ok_or_else(|| invalid(format!("there is no descriptor for {what}")))?;
        self.take(slot, what)
    }
}

/// The names of what a VM is built from.
#[derive(Debug, Default)]
pub(super) struct Sources {
    boot: Option<(BootFile, Option<BootFile>)>,
    disks: BTreeMap<usize, DiskSource>,
    nics: BTreeMap<usize, NicSource>,
}

/// The host's side of a network interface, by name.
#[derive(Clone, Debug)]
pub(super) struct NicSource {
    backend: NicBackendConfig,
    bridge: Option<String>,
}

impl Sources {
    /// Replaces all names in a configuration by descriptors.
    pub(super) fn replace(config: &mut VmConfig, build: &Build, received: &mut Received) -> Result<Self> {
        let mut sources = Self::default();
        if let Boot::Kernel { kernel, initrd, .. } = &mut config.boot {
            sources.boot = Some((kernel.clone(), initrd.clone()));
            *kernel = received.given(build.kernel, "the kernel")?.into();
            if let Some(initrd) = initrd {
                *initrd = received.given(build.initrd, "the initial RAM disk")?.into();
            }
        }
        same_count("disks", config.disks.len(), build.disks.len())?;
        for (index, (disk, layers)) in config.disks.iter_mut().zip(&build.disks).enumerate() {
            sources.disks.insert(index, replace_disk(disk, layers, received)?);
        }
        same_count("network interfaces", config.nics.len(), build.nics.len())?;
        for (index, (nic, backend)) in config.nics.iter_mut().zip(&build.nics).enumerate() {
            sources.nics.insert(index, replace_nic(nic, *backend, received)?);
        }
        if let Some(slot) = build.memory {
            config.memory_backing.file = Some(received.take(slot, "the memory")?.into());
        }
        if let Some(vsock) = &mut config.vsock {
            vsock.listener = Some(received.given(build.vsock, "the vsock device")?.into());
        }
        Ok(sources)
    }

    /// Goes from the order of the configuration to the positions of a VM that was built from it.
    pub(super) fn place(&mut self, vm: &Vm) {
        self.disks = vm.disk_positions().into_iter().zip(std::mem::take(&mut self.disks).into_values()).collect();
        self.nics = vm.nic_positions().into_iter().zip(std::mem::take(&mut self.nics).into_values()).collect();
    }

    /// Adds a disk that was plugged in.
    pub(super) fn add_disk(&mut self, position: usize, source: DiskSource) {
        self.disks.insert(position, source);
    }

    /// Adds a network interface that was plugged in.
    pub(super) fn add_nic(&mut self, position: usize, source: NicSource) {
        self.nics.insert(position, source);
    }

    /// Forgets the devices that a VM no longer has.
    pub(super) fn forget_absent(&mut self, vm: &Vm) {
        let (disks, nics) = (vm.disk_positions(), vm.nic_positions());
        self.disks.retain(|position, _| disks.contains(position));
        self.nics.retain(|position, _| nics.contains(position));
    }

    /// Whether the devices at these positions have names, which a device gets just after it was plugged in.
    pub(super) fn has(&self, disks: &[usize], nics: &[usize]) -> bool {
        disks.iter().all(|position| self.disks.contains_key(position))
            && nics.iter().all(|position| self.nics.contains_key(position))
    }

    /// Puts the names back into the configuration of a VM with devices at these positions.
    pub(super) fn restore(&self, config: &mut VmConfig, disks: &[usize], nics: &[usize]) {
        if let (Boot::Kernel { kernel, initrd, .. }, Some((name, ramdisk))) = (&mut config.boot, &self.boot) {
            (*kernel, *initrd) = (name.clone(), ramdisk.clone());
        }
        for (disk, position) in config.disks.iter_mut().zip(disks) {
            if let Some(source) = self.disks.get(position) {
                disk.source = source.clone();
            }
        }
        for (nic, position) in config.nics.iter_mut().zip(nics) {
            if let Some(source) = self.nics.get(position) {
                (nic.backend, nic.bridge) = (source.backend.clone(), source.bridge.clone());
            }
        }
        config.memory_backing.file = None;
        if let Some(vsock) = &mut config.vsock {
            vsock.listener = None;
        }
    }
}

/// Gives a disk open images, and returns what it had.
pub(super) fn replace_disk(disk: &mut Disk, layers: &[Layer], received: &mut Received) -> Result<DiskSource> {
    let image = |layer: &Layer| {
        let format: ImageFormat = serde_json::from_value(layer.format.clone().into())
            .map_err(|_| invalid(format!("{:?} is not a format of images", layer.format)))?;
        Ok(ImageDescriptor::new(received.take(layer.file, "a disk")?, format))
    };
    let images = layers.iter().map(image).collect::<Result<Vec<_>>>()?;
    if images.is_empty() {
        return Err(invalid("a disk has no image"));
    }
    Ok(std::mem::replace(&mut disk.source, DiskSource::Descriptors(images)))
}

/// Gives a network interface an open connection, and returns what it had.
pub(super) fn replace_nic(nic: &mut Nic, backend: NicBackend, received: &mut Received) -> Result<NicSource> {
    let open = match backend {
        NicBackend::Tap(slot) => NicBackendConfig::TapDescriptor(received.take(slot, "a tap")?.into()),
        NicBackend::Stream(slot) => {
            let stream = FrameStream::new(received.take(slot, "a network connection")?.into())?;
            NicBackendConfig::Connection(std::sync::Arc::new(stream))
        }
    };
    // Whoever opened the tap has added it to the bridge.
    Ok(NicSource { backend: std::mem::replace(&mut nic.backend, open), bridge: nic.bridge.take() })
}

fn same_count(what: &str, configured: usize, given: usize) -> Result<()> {
    if configured == given {
        return Ok(());
    }
    Err(invalid(format!("the configuration has {configured} {what}, and {given} were given")))
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(kind::INVALID_CONFIG, what).with_remedy("send what the configuration has, in its order")
}
