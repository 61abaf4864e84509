//! What every virtio device is, apart from the transport that carries it.

use std::fmt;
use std::os::fd::RawFd;
use std::time::Instant;

use super::state::DeviceState;
use super::{Queues, Served};
use crate::Result;
use crate::sandbox::Work;

/// The kinds of device there are, by their virtio device id (virtio 1.2, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    /// Network card.
    Net = 1,
    /// Disk.
    Block = 2,
    /// Console.
    Console = 3,
    /// Entropy source.
    Rng = 4,
    /// Memory balloon.
    Balloon = 5,
    /// Sockets between guest and host.
    Vsock = 19,
}

impl DeviceKind {
    /// For logs and thread names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Net => "virtio-net",
            Self::Block => "virtio-blk",
            Self::Console => "virtio-console",
            Self::Rng => "virtio-rng",
            Self::Balloon => "virtio-balloon",
            Self::Vsock => "virtio-vsock",
        }
    }

    /// PCI class, subclass and programming interface.
    pub(crate) fn pci_class(self) -> u32 {
        match self {
            Self::Net => 0x02_00_00,
            Self::Block => 0x01_80_00,
            Self::Console => 0x07_80_00,
            Self::Rng | Self::Balloon => 0xff_00_00,
            Self::Vsock => 0x07_80_00,
        }
    }
}

/// A virtio device: what the driver sees of it, and how to serve its queues.
///
/// The transport calls these from vCPU threads, also while the [`Handler`] runs on the worker thread. What both need is
/// behind the device's own locks, which are never held during I/O.
pub(crate) trait VirtioDevice: Send + Sync + fmt::Debug {
    /// The kind of device.
    fn kind(&self) -> DeviceKind;

    /// The largest size of each queue, a power of two; as many as there are queues.
    fn queue_sizes(&self) -> &[u16];

    /// The feature bits of this kind of device that are offered. The transport adds its own.
    fn features(&self) -> u64;

    /// Fills `data` from the device configuration space; zeroes where there is none.
    fn read_config(&self, offset: usize, data: &mut [u8]);

    /// The driver wrote `data` to the device configuration space, in which few devices have anything that is its to write.
    fn write_config(&self, _offset: usize, _data: &[u8]) {}

    /// The driver is ready, having accepted `features`. The handler [ends](Handler::end) when the driver resets the device.
    ///
    /// What it needs of the host was taken when the device was made: a guest that finds its host wanting has nobody to
    /// tell.
    fn activate(&self, features: u64) -> Result<Box<dyn Handler>>;

    /// The driver resets the device, or there was none yet; its handler is gone. What came for that driver must not reach
    /// the next one. Input that people send to the VM rather than to a driver may wait for it: what is typed into a
    /// console, and programs that ask for a connection.
    fn reset(&self) {}

    /// The state to construct this device from elsewhere. No request is in flight.
    fn save(&self) -> DeviceState;

    /// What its handler asks the kernel for; none where it calls what is not ours, and so cannot be put under a filter.
    fn work(&self) -> Option<Work> {
        None
    }
}

/// The part of a device that moves data. It lives on the worker thread.
///
/// Requests may be in flight between two calls, but not after [`settle`](Self::settle): that is where pausing and
/// stopping happen. An `Err` says that the driver broke the rules, or that the host cannot serve the device, of which its
/// owner is told; the device then does nothing until it is reset.
pub(crate) trait Handler: Send {
    /// Serves queue `index`, which the driver notified. Also called without a notification, after every resume.
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served;

    /// The backend's descriptor, while the handler wants to be told of input.
    fn input(&self) -> Option<RawFd>;

    /// There is input.
    fn receive(&mut self, queues: &mut Queues) -> Served;

    /// When the handler wants to be called although nothing happens.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// That moment has come.
    fn due(&mut self, _: &mut Queues) -> Served {
        Ok(())
    }

    /// Brings every request in flight to its end. The worker is to pause or stop, or the driver broke the rules.
    fn settle(&mut self, _: &mut Queues) -> Served {
        Ok(())
    }

    /// Gives back to the device what its next handler needs of the host. The driver has reset the device, and nothing is
    /// in flight.
    fn end(self: Box<Self>) {}
}

/// Fills `data` from `config[offset..]`, with zeroes beyond the end: how any device answers `read_config`.
pub(crate) fn read_config_bytes(config: &[u8], offset: usize, data: &mut [u8]) {
    for (i, byte) in data.iter_mut().enumerate() {
        *byte = config.get(offset.saturating_add(i)).copied().unwrap_or(0);
    }
}
