//! The events of a VM.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use crate::disk::IoOperation;
pub use crate::machine::CrashReason;

/// An event with its VM and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventRecord {
    /// The VM's UUID.
    pub vm: Uuid,
    /// The number of this event of this VM in this process, from 1.
    pub sequence: u64,
    /// When it happened, by the host's clock.
    pub time: SystemTime,
    /// What happened.
    pub event: Event,
}

/// Something that happened to a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// It was started.
    Started,
    /// It was paused.
    Paused,
    /// It was unpaused.
    Unpaused,
    /// It was suspended: the state of its memory and devices is in a file.
    Suspended,
    /// It was resumed from that file, and runs again.
    Resumed,
    /// It was migrated, and runs elsewhere. The VM here is halted.
    Migrated,
    /// It was shut down with [`hard_shutdown`](crate::vm::Vm::hard_shutdown), or dropped.
    HardShutdown,
    /// It was reset with [`hard_reboot`](crate::vm::Vm::hard_reboot).
    HardReset,
    /// The guest powered off.
    GuestShutdown,
    /// The guest reset itself, and runs again.
    GuestReset,
    /// The guest's kernel reported a panic. Unless its crash kernel takes over, [`Crashed`](Self::Crashed) follows.
    GuestPanicked {
        /// Whether it has a crash kernel (kdump).
        crash_kernel: bool,
    },
    /// The guest cannot continue. Depending on the configuration, the VM is halted, or [`Restarted`](Self::Restarted)
    /// or [`Paused`](Self::Paused) follows.
    Crashed(CrashReason),
    /// It was reset after a crash, and runs again.
    Restarted,
    /// A disk was plugged in.
    DiskPlugged {
        /// Its position.
        disk: usize,
    },
    /// A disk was unplugged, on request or because the guest ejected it. Its image is no longer locked.
    DiskUnplugged {
        /// The position it had.
        disk: usize,
    },
    /// The size of a disk changed.
    DiskResized {
        /// Its position.
        disk: usize,
        /// The new size in bytes.
        size: u64,
    },
    /// A network interface was plugged in.
    NicPlugged {
        /// Its position.
        nic: usize,
    },
    /// A network interface was unplugged, on request or because the guest ejected it.
    NicUnplugged {
        /// The position it had.
        nic: usize,
    },
    /// A request to a disk failed, and the guest was told so.
    IoError {
        /// The position of the disk, from 0.
        disk: usize,
        /// The type of the request.
        operation: IoOperation,
        /// Its offset in bytes.
        offset: u64,
        /// Its length in bytes.
        length: u64,
        /// Why it failed.
        reason: String,
    },
    /// A network interface on a socket lost its peer, and the guest sees the link go down.
    NicDisconnected {
        /// Its position.
        nic: usize,
    },
    /// A network interface on a socket has a peer again.
    NicConnected {
        /// Its position.
        nic: usize,
    },
    /// A device cannot be served because the host lacks something, such as a thread or a network interface that was
    /// removed. The driver is notified (DEVICE_NEEDS_RESET); the device is tried again when the driver resets it, or at
    /// a reboot. Sent once, until the device works again.
    DeviceFailed {
        /// The device.
        device: Device,
        /// Why it cannot be served.
        reason: String,
    },
    /// The [`Vm`](crate::vm::Vm) was dropped. This is its last event.
    Dropped,
    /// The listener was too slow, and this many of the VM's events are lost, up to the one with this sequence number.
    Missed(u64),
}

/// A device of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Device {
    /// The disk at this position.
    Disk(usize),
    /// The network interface at this position.
    Nic(usize),
    /// The virtio console.
    Console,
    /// The entropy source.
    Rng,
    /// The memory balloon.
    Balloon,
    /// The vsock device.
    Vsock,
}
