//! The guest-visible state of each kind of device, as plain data: what a device is constructed from, and saved as.
//!
//! It knows of no host path, descriptor or limit; those come with the backend that is given to a device's constructor.

use serde::{Deserialize, Serialize};

/// The saved state of a device, without its transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeviceState {
    /// A disk.
    Block(BlockState),
    /// A network card.
    Net(NetState),
    /// A console keeps nothing: its bytes are in its queues or in its host backend.
    Console,
    /// Entropy has no state.
    Rng,
    /// A memory balloon.
    Balloon(BalloonState),
    /// A socket device.
    Vsock(VsockState),
}

/// What the driver was told of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockState {
    /// Serial number, at most 20 bytes.
    pub(crate) serial: String,
    /// Number of queues.
    pub(crate) queues: u16,
    /// Size in sectors of 512 bytes.
    pub(crate) sectors: u64,
    /// Whether it cannot be written.
    pub(crate) read_only: bool,
    /// The block that is written at once, in bytes. Sectors stay of 512 bytes, whatever the device of the host has, so that
    /// a disk can be copied from one device to another: partition tables count in sectors.
    #[serde(default = "smallest_block")]
    pub(crate) block_size: u32,
}

/// What a state has that was saved before it said the block.
fn smallest_block() -> u32 {
    512
}

/// What the driver was told of a network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetState {
    /// Its address.
    pub(crate) mac: [u8; 6],
    /// The largest packet that the driver should send, if it is told.
    pub(crate) mtu: Option<u16>,
    /// Whether the cable is plugged in.
    pub(crate) link_up: bool,
}

/// A balloon as its driver knows it; pages are of 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BalloonState {
    /// How many pages the host wants.
    pub(crate) target: u32,
    /// How many pages the driver says it has given.
    pub(crate) actual: u32,
    /// What the driver fills its free pages with.
    pub(crate) poison: u32,
    /// Whether the driver is asked to report free pages.
    pub(crate) reporting: bool,
}

impl BalloonState {
    /// Of a driver that is yet to come.
    pub(crate) fn new(target: u32, reporting: bool) -> Self {
        Self { target, actual: 0, poison: 0, reporting }
    }
}

/// What the driver was told of a socket device. Connections are not part of it: they end with the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VsockState {
    /// The context identifier of the guest.
    pub(crate) guest_cid: u64,
}
