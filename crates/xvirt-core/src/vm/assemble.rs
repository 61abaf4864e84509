//! Assembles a machine that is ready to run from a configuration.
//!
//! On any error, everything made before is dropped: locks, taps, memory, threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::consoles::Consoles;
use super::devices::{Devices, DiskSlot, NicSlot};
use super::events::{Device, Event, Events};
use super::saved_devices::SavedDevices;
use crate::config::{ByteSize, Disk, DiskSource, Nic, NicBackendConfig, PAGE, VmConfig};
use crate::disk::{Access, CopyBeforeWrite};
use crate::machine::{Machine, Parts, Processors, Restore};
use crate::net::{FrameStream, MacAddress, Tap};
use crate::sandbox;
use crate::virtio::{
    self, Balloon, BalloonState, Block, BlockState, IoError, IoErrorSink, Net, NetBackend, NetState, Rng, VirtioDevice,
    VirtioPci, Vsock, VsockState,
};
use crate::{Error, ErrorKind, Result};

/// More request queues than this gain little, unless the configuration asks for them.
const MAX_DEFAULT_QUEUES: u32 = 4;

/// The open, locked disks of a VM by their positions.
pub(super) type Backends = BTreeMap<usize, Arc<CopyBeforeWrite>>;

/// Opens and locks those disks of a VM that are not open yet, with `access` or else the access of their guest.
pub(super) fn open_disks(devices: &Devices, access: Option<Access>) -> Result<Backends> {
    let open = |disk: &DiskSlot| match disk.open() {
        Some(held) => Ok(held),
        None => open_disk(&disk.config, access.unwrap_or(disk.config.access())),
    };
    devices.disks.iter().map(|(position, disk)| Ok((*position, open(disk)?))).collect()
}

pub(super) fn open_disk(disk: &Disk, access: Access) -> Result<Arc<CopyBeforeWrite>> {
    Ok(Arc::new(CopyBeforeWrite::new(disk.open_backend(access)?)))
}

/// An assembled machine, and those of its devices that can be queried or changed.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) machine: Machine,
    pub(super) disks: BTreeMap<usize, DiskDevice>,
    pub(super) nics: BTreeMap<usize, NicDevice>,
    pub(super) balloon: Option<BalloonDevice>,
}

/// A disk of a running VM.
#[derive(Clone, Debug)]
pub(super) struct DiskDevice {
    pub(super) block: Arc<Block>,
    pub(super) function: Arc<VirtioPci>,
    /// The storage of the disk; holds the image's lock.
    pub(super) backend: Arc<CopyBeforeWrite>,
}

impl DiskDevice {
    /// A disk that is in the machine as `function`. Reports its failures to the VM's listeners from now on.
    pub(super) fn new(
        position: usize,
        block: Arc<Block>,
        function: Arc<VirtioPci>,
        backend: Arc<CopyBeforeWrite>,
        events: &Events,
    ) -> Self {
        tell_failures(Device::Disk(position), &function, events);
        Self { block, function, backend }
    }
}

/// A network interface of a running VM.
#[derive(Clone, Debug)]
pub(super) struct NicDevice {
    /// The host's interface that it is connected to.
    pub(super) interface: String,
    pub(super) net: Arc<Net>,
    pub(super) function: Arc<VirtioPci>,
}

/// The balloon of a running VM.
#[derive(Debug)]
pub(super) struct BalloonDevice {
    pub(super) balloon: Arc<Balloon>,
    pub(super) function: Arc<VirtioPci>,
}

/// Assembles the machine and all its devices, parked. With a saved state, they continue from it.
pub(super) fn machine(
    config: &VmConfig,
    devices: &Devices,
    processors: &Processors,
    backends: Backends,
    consoles: &Consoles,
    events: &Events,
    restore: Option<Restore<'_>>,
) -> Result<Assembled> {
    let saved = SavedDevices {
        states: restore.as_ref().map(|restore| &restore.state.devices),
        of_another: restore.as_ref().is_some_and(|restore| restore.of_another),
    };
    if config.seccomp {
        sandbox::require()?;
    }
    let open = |nic: &NicSlot| open_nic(&nic.config, |mac| saved.net(nic.slot, mac));
    let opened = devices.nics.values().map(open).collect::<Result<Vec<_>>>()?;
    let mut machine = Machine::new(Parts {
        processors,
        memory: config.memory,
        backing: &config.memory_backing,
        generation_id: config.generation_id,
        boot: &config.boot,
        serial: Arc::new(consoles.serial.clone()),
        seccomp: config.seccomp,
        restore,
    })?;
    let mut disks = BTreeMap::new();
    for ((position, disk), (_, backend)) in devices.disks.iter().zip(backends) {
        let state = saved.block(*position, disk.slot, &backend)?;
        let block = Arc::new(block(*position, &disk.config, &backend, state, config.cpus.count, events)?);
        let function = machine.insert(disk.slot, Arc::clone(&block) as _, saved.at(disk.slot)?)?;
        disks.insert(*position, DiskDevice::new(*position, block, function, backend, events));
    }
    let mut nics = BTreeMap::new();
    for ((position, nic), parts) in devices.nics.iter().zip(opened) {
        let function = machine.insert(nic.slot, Arc::clone(&parts.net) as _, saved.at(nic.slot)?)?;
        nics.insert(*position, NicDevice::new(*position, parts, function, events));
    }
    let (console, agent) = (Arc::new(consoles.virtio.clone()), consoles.agent.backend());
    let ports = saved.console(machine.free_slot()?)?.unwrap_or_default();
    let console = Arc::new(virtio::Console::new(console, agent, ports));
    add(&mut machine, Device::Console, console, saved, events)?;
    add(&mut machine, Device::Rng, Arc::new(Rng), saved, events)?;
    if let Some(vsock) = &config.vsock {
        let state = VsockState { guest_cid: vsock.cid.into() };
        // Tells the driver that its earlier connections are gone.
        let moved = saved.states.is_some();
        let device = match &vsock.listener {
            Some(listener) => Vsock::with_listener(&vsock.path, listener, state, moved),
            None => Vsock::new(&vsock.path, state, moved),
        };
        add(&mut machine, Device::Vsock, Arc::new(device?), saved, events)?;
    }
    let balloon = config.balloon.enabled.then(|| add_balloon(&mut machine, config, saved, events)).transpose()?;
    saved.require_all_used(&machine)?;
    Ok(Assembled { machine, disks, nics, balloon })
}

/// Adds a device that cannot be unplugged. Reports its failures to the VM's listeners.
fn add(
    machine: &mut Machine,
    name: Device,
    device: Arc<dyn VirtioDevice>,
    saved: SavedDevices<'_>,
    events: &Events,
) -> Result<Arc<VirtioPci>> {
    let slot = machine.free_slot()?;
    let function = machine.add(slot, device, saved.at(slot)?)?;
    tell_failures(name, &function, events);
    Ok(function)
}

fn add_balloon(
    machine: &mut Machine,
    config: &VmConfig,
    saved: SavedDevices<'_>,
    events: &Events,
) -> Result<BalloonDevice> {
    let target = balloon_pages(config.memory, config.balloon.target.unwrap_or(config.memory));
    let seconds = config.balloon.statistics_seconds;
    let interval = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
    // Pages reported free are released to the host, which is impossible for reserved huge pages.
    let new = BalloonState::new(target, !config.memory_backing.huge_pages);
    let state = saved.balloon(machine.free_slot()?)?.unwrap_or(new);
    let balloon = Arc::new(Balloon::new(interval, state)?);
    let function = add(machine, Device::Balloon, Arc::clone(&balloon) as _, saved, events)?;
    Ok(BalloonDevice { balloon, function })
}

/// The number of 4 KiB pages in the balloon of a VM of `memory` whose target is `target`.
pub(super) fn balloon_pages(memory: ByteSize, target: ByteSize) -> u32 {
    u32::try_from(memory.bytes().saturating_sub(target.bytes()) / PAGE).unwrap_or(u32::MAX)
}

/// The device of a disk at `position`, for a VM with `vcpus` vCPUs.
pub(super) fn block(
    position: usize,
    disk: &Disk,
    backend: &Arc<CopyBeforeWrite>,
    saved: Option<BlockState>,
    vcpus: u32,
    events: &Events,
) -> Result<Block> {
    let new = || BlockState::new(&**backend, disk.serial.as_str(), queues(disk, vcpus));
    let state = saved.unwrap_or_else(new);
    let backend = Arc::clone(backend) as _;
    let block = Block::new(backend, disk.engine, io_errors_of(position, events), state)?;
    block.set_limit(disk.limit);
    Ok(match disk.source {
        DiskSource::Image { .. } | DiskSource::Descriptors(_) => block.with_image(),
        DiskSource::Backend(_) => {
            tracing::info!(disk = position, "the disk's backend is the program's own, and runs without a filter");
            block
        }
    })
}

/// The number of request queues of a disk in a VM with `vcpus` vCPUs.
fn queues(disk: &Disk, vcpus: u32) -> u16 {
    disk.queues.unwrap_or(vcpus.min(MAX_DEFAULT_QUEUES) as u16)
}

/// A network interface that is open on the host and not yet in a machine.
pub(super) struct OpenedNic {
    pub(super) interface: String,
    pub(super) net: Arc<Net>,
}

/// Opens the backend of a NIC and creates its device, in the state that is saved for a NIC with its address, if any.
pub(super) fn open_nic(nic: &Nic, saved: impl FnOnce(MacAddress) -> Result<Option<NetState>>) -> Result<OpenedNic> {
    let mac = nic.mac.unwrap_or_else(MacAddress::random);
    let saved = saved(mac)?;
    let NicBackend { interface, backend, mtu } = open_backend(nic, mac)?;
    let state = saved.unwrap_or(NetState::new(mac.octets(), mtu));
    let net = Arc::new(Net::new(backend, state));
    net.set_limit(nic.limit);
    Ok(OpenedNic { interface, net })
}

impl NicDevice {
    /// A network interface that is in the machine as `function`. Reports changes of its connection to the guest and to
    /// the VM's listeners from now on.
    pub(super) fn new(position: usize, opened: OpenedNic, function: Arc<VirtioPci>, events: &Events) -> Self {
        let OpenedNic { interface, net } = opened;
        tell_failures(Device::Nic(position), &function, events);
        let (guest, events) = (Arc::downgrade(&function), events.clone());
        net.on_connection(move |connected| {
            if let Some(function) = guest.upgrade() {
                function.config_changed();
            }
            events.send(&match connected {
                true => Event::NicConnected { nic: position },
                false => Event::NicDisconnected { nic: position },
            });
        });
        Self { interface, net, function }
    }
}

/// The host's side of a NIC.
struct NicBackend {
    interface: String,
    backend: Arc<dyn NetBackend>,
    mtu: Option<u16>,
}

/// Opens, creates, starts or connects the backend. Whatever was created or started is removed with the VM.
fn open_backend(nic: &Nic, mac: MacAddress) -> Result<NicBackend> {
    let tap = match &nic.backend {
        NicBackendConfig::Stream(path) => {
            let (interface, backend) = (path.display().to_string(), Arc::new(FrameStream::connect(path)?));
            return Ok(NicBackend { interface, backend, mtu: nic.mtu });
        }
        NicBackendConfig::Connection(stream) => {
            let (interface, backend) = ("a socket".to_owned(), Arc::clone(stream) as _);
            return Ok(NicBackend { interface, backend, mtu: nic.mtu });
        }
        NicBackendConfig::User(network) => {
            let backend = Arc::new(FrameStream::passt(network.command(nic.mtu), mac)?);
            return Ok(NicBackend { interface: "passt".to_owned(), backend, mtu: nic.mtu });
        }
        NicBackendConfig::Tap(name) => match Tap::open(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => made(Tap::create(Some(name))?, nic),
            opened => opened,
        },
        NicBackendConfig::NewTap => made(Tap::create(None)?, nic),
        NicBackendConfig::TapDescriptor(descriptor) => Tap::from_fd(descriptor.duplicate()?),
    }?;
    if let Some(bridge) = &nic.bridge {
        tap.attach_to_bridge(bridge)?;
    }
    let mtu = match nic.mtu {
        Some(mtu) => Some(mtu),
        None => u16::try_from(tap.mtu().map_err(mtu_unknown)?).ok(),
    };
    Ok(NicBackend { interface: tap.name().to_owned(), backend: Arc::new(tap), mtu })
}

/// Querying the MTU of a tap needs a socket, which the process may not be allowed to create.
fn mtu_unknown(error: Error) -> Error {
    Error::new(error.kind(), "cannot query the MTU of a tap")
        .because(error.without_remedy())
        .with_remedy("set it with Nic::mtu")
}

/// Sets up a tap interface that was just created: nothing else does.
fn made(tap: Tap, nic: &Nic) -> Result<Tap> {
    if let Some(mtu) = nic.mtu {
        tap.set_mtu(mtu.into())?;
    }
    tap.set_up()?;
    Ok(tap)
}

/// Sends an event when a device cannot be served.
fn tell_failures(device: Device, function: &VirtioPci, events: &Events) {
    let events = events.clone();
    function.on_failure(move |error| match error.kind() {
        // The machine is being torn down, and its memory is not loaded any more.
        ErrorKind::Cancelled => {}
        _ => events.send(&Event::DeviceFailed { device, reason: error.to_string() }),
    });
}

/// Sends an event for each failed request of a disk.
fn io_errors_of(disk: usize, events: &Events) -> IoErrorSink {
    let events = events.clone();
    Arc::new(move |failed: IoError| {
        let IoError { operation, offset, length, error } = failed;
        events.send(&Event::IoError { disk, operation, offset, length, reason: error.to_string() });
    })
}
