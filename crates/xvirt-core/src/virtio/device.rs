//! The device side of virtio, independent of the transport.

use std::fmt;
use std::os::fd::RawFd;
use std::time::Instant;

use super::state::DeviceState;
use super::{Queues, Served};
use crate::Result;
use crate::sandbox::Work;

/// The supported kinds of device, by virtio device id (virtio 1.2, section 5).
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
    /// The name for logs and threads.
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

/// A virtio device: its driver-visible side, and how to serve its queues.
///
/// The transport calls these methods from vCPU threads, even while the [`Handler`] runs on the worker thread. The
/// device's own locks protect shared state; they are never held during I/O.
pub(crate) trait VirtioDevice: Send + Sync + fmt::Debug {
    /// The kind of device.
    fn kind(&self) -> DeviceKind;

    /// The largest size of each queue, a power of two. The number of entries is the number of queues.
    fn queue_sizes(&self) -> &[u16];

    /// The feature bits of this device kind. The transport adds its own.
    fn features(&self) -> u64;

    /// Reads from the device configuration space into `data`; bytes beyond its end are zero.
    fn read_config(&self, offset: usize, data: &mut [u8]);

    /// Handles a write of the driver to the device configuration space. Few devices have writable fields.
    fn write_config(&self, _offset: usize, _data: &[u8]) {}

    /// The driver is ready (`DRIVER_OK`) and accepted `features`. The handler [ends](Handler::end) when the driver
    /// resets the device.
    ///
    /// The device acquires host resources when it is built, because a guest cannot be told that its host lacks some.
    fn activate(&self, features: u64) -> Result<Box<dyn Handler>>;

    /// The driver resets the device, or the first driver is about to start; there is no handler. Input for the old
    /// driver must not reach the next one. Input for the VM as a whole, such as console input and pending connections
    /// of host programs, may wait for the next driver.
    fn reset(&self) {}

    /// The state from which this device can be built elsewhere. No request is in flight.
    fn save(&self) -> DeviceState;

    /// The system calls that the handler needs; `None` if it calls code of the embedder, so no filter can apply.
    fn work(&self) -> Option<Work> {
        None
    }
}

/// The part of a device that moves data, on the worker thread.
///
/// Requests may be in flight between calls, but not after [`settle`](Self::settle), which precedes pausing and
/// stopping. `Err` means that the driver violated the protocol, or that the host cannot serve the device, which the
/// owner is told. The device then stops until it is reset.
pub(crate) trait Handler: Send {
    /// Serves queue `index` after a notification, and without one after each resume.
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served;

    /// The descriptor to poll for input, while the handler wants input.
    fn input(&self) -> Option<RawFd>;

    /// The input descriptor is readable.
    fn receive(&mut self, queues: &mut Queues) -> Served;

    /// The time of the next call to [`due`](Self::due), if the handler needs one.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline has passed.
    fn due(&mut self, _: &mut Queues) -> Served {
        Ok(())
    }

    /// Completes every request in flight, because the worker pauses or stops, or the driver violated the protocol.
    fn settle(&mut self, _: &mut Queues) -> Served {
        Ok(())
    }

    /// Returns the host resources that the next handler needs to the device. The driver has reset the device, and no
    /// request is in flight.
    fn end(self: Box<Self>) {}
}

/// Fills `data` from `config[offset..]`, with zeroes beyond the end: the usual body of `read_config`.
pub(crate) fn read_config_bytes(config: &[u8], offset: usize, data: &mut [u8]) {
    for (i, byte) in data.iter_mut().enumerate() {
        *byte = config.get(offset.saturating_add(i)).copied().unwrap_or(0);
    }
}
