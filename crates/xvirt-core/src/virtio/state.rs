//! The guest-visible state of each kind of device, as plain data: constructors take it, and saving returns it.
//!
//! It contains no host paths, descriptors or limits; those belong to the backend that the constructor takes.

use serde::{Deserialize, Serialize};

/// The saved state of a device, without its transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeviceState {
    /// A disk.
    Block(BlockState),
    /// A network card.
    Net(NetState),
    /// A console with a port.
    Console(ConsoleState),
    /// The entropy source has no state.
    Rng,
    /// A memory balloon.
    Balloon(BalloonState),
    /// A socket device.
    Vsock(VsockState),
}

/// The driver-visible properties of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockState {
    /// Serial number, at most 20 bytes.
    pub(crate) serial: String,
    /// Number of queues.
    pub(crate) queues: u16,
    /// Size in sectors of 512 bytes.
    pub(crate) sectors: u64,
    /// Whether the disk is read-only.
    pub(crate) read_only: bool,
    /// The physical block size in bytes. Logical sectors always have 512 bytes, whatever the host's device has, so that
    /// a disk can be copied to another device: partition tables count in sectors.
    #[serde(default = "smallest_block")]
    pub(crate) block_size: u32,
}

/// The default for states that were saved without a block size.
fn smallest_block() -> u32 {
    512
}

/// The driver-visible properties of a network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetState {
    /// The MAC address.
    pub(crate) mac: [u8; 6],
    /// The MTU, if it is announced to the driver.
    pub(crate) mtu: Option<u16>,
    /// Whether the cable is plugged in.
    pub(crate) link_up: bool,
    /// Whether the driver is asked to announce the card to the network, and has not acknowledged that.
    #[serde(default)]
    pub(crate) announce: bool,
    /// The addresses of the VMs of which this one is a copy. A driver that still uses one of them sends nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former: Vec<[u8; 6]>,
}

impl NetState {
    /// The same card in a copy of its VM, with an address of its own.
    pub(crate) fn copied_as(mut self, mac: [u8; 6]) -> Self {
        if self.mac != mac {
            self.former.push(self.mac);
            self.former.retain(|former| *former != mac);
            self.mac = mac;
        }
        self
    }

    /// The state before the first driver.
    pub(crate) fn new(mac: [u8; 6], mtu: Option<u16>) -> Self {
        Self { mac, mtu, link_up: true, announce: false, former: Vec::new() }
    }
}

/// What a console and its driver know of the port beside it. Bytes are no part of it: they are in the queues or in the
/// host backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConsoleState {
    /// Which control messages the driver waits for, one bit for each that there is.
    pub(crate) owed: u8,
    /// Whether a program has the agent's port open.
    pub(crate) agent_open: bool,
    /// How many bytes the host has taken of the chain that is first in the queue to it.
    pub(crate) taken: u64,
}

/// The driver-visible properties of a balloon; pages have 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BalloonState {
    /// The number of pages that the host wants.
    pub(crate) target: u32,
    /// The number of pages that the driver says it has given.
    pub(crate) actual: u32,
    /// The pattern with which the driver fills free pages.
    pub(crate) poison: u32,
    /// Whether the driver is asked to report free pages.
    pub(crate) reporting: bool,
}

impl BalloonState {
    /// The state before the first driver.
    pub(crate) fn new(target: u32, reporting: bool) -> Self {
        Self { target, actual: 0, poison: 0, reporting }
    }
}

/// The driver-visible properties of a vsock device. Connections are not part of it: they end with the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VsockState {
    /// The context identifier of the guest.
    pub(crate) guest_cid: u64,
}
