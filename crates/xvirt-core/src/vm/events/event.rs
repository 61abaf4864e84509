//! What can happen to a VM.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use crate::disk::IoOperation;
pub use crate::machine::CrashReason;

/// An event, and when it happened to which VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventRecord {
    /// The VM's UUID.
    pub vm: Uuid,
    /// Counts the events of this VM in this process, from 1.
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
    /// It was suspended: its memory and its devices are in a file.
    Suspended,
    /// It was resumed from that file, and runs.
    Resumed,
    /// It was shut down from outside.
    HardShutdown,
    /// It was reset from outside.
    HardReset,
    /// The guest switched itself off.
    GuestShutdown,
    /// The guest reset itself, and runs again.
    GuestReset,
    /// The guest's kernel says that it panicked. Unless its crash kernel goes on, [`Crashed`](Self::Crashed) follows.
    GuestPanicked {
        /// Whether it has a crash kernel (kdump).
        crash_kernel: bool,
    },
    /// The guest cannot go on. The VM is halted, or [`Restarted`](Self::Restarted) or [`Paused`](Self::Paused) follows, as
    /// its configuration says.
    Crashed(CrashReason),
    /// It was reset after a crash, and runs again.
    Restarted,
    /// A disk was plugged in.
    DiskPlugged {
        /// Its position.
        disk: usize,
    },
    /// A disk is out, because that was asked or because the guest let go of it, and its image is not locked any more.
    DiskUnplugged {
        /// The position it had.
        disk: usize,
    },
    /// A disk has another size.
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
    /// A network interface is out, because that was asked or because the guest let go of it.
    NicUnplugged {
        /// The position it had.
        nic: usize,
    },
    /// A disk could not do what the guest asked, and the guest was told so.
    IoError {
        /// The position of the disk, from 0.
        disk: usize,
        /// What was asked.
        operation: IoOperation,
        /// Where, in bytes.
        offset: u64,
        /// How much, in bytes.
        length: u64,
        /// Why it failed.
        reason: String,
    },
    /// A network interface on a socket has lost its peer, and the guest sees the cable unplugged.
    NicDisconnected {
        /// Its position.
        nic: usize,
    },
    /// A network interface on a socket has a peer again.
    NicConnected {
        /// Its position.
        nic: usize,
    },
    /// A device cannot be served for want of something on the host, such as a thread or a network interface that is gone.
    /// Its driver was told so (DEVICE_NEEDS_RESET); it is tried again when the driver resets the device, or at a reboot.
    /// Told once, until the device works.
    DeviceFailed {
        /// Which it is.
        device: Device,
        /// What is wanting.
        reason: String,
    },
    /// The [`Vm`](crate::vm::Vm) was dropped: it is the last of its events.
    Dropped,
    /// The listener was slow, and this many of the VM's events are lost, up to the one with this sequence number.
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
    /// The socket device.
    Vsock,
}
