//! The counters of a network card's frames.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one network card; its handler updates them, and any thread may read them.
#[derive(Debug, Default)]
pub(crate) struct NetCounters {
    /// From the network to the guest.
    pub(crate) received: FrameCounters,
    /// From the guest to the network.
    pub(crate) sent: FrameCounters,
}

/// The counters of one direction.
#[derive(Debug, Default)]
pub(crate) struct FrameCounters {
    frames: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
}

impl FrameCounters {
    /// Counts a transferred frame of `bytes`, without its virtio header.
    pub(super) fn passed(&self, bytes: u64) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a dropped frame.
    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers of frames and bytes transferred, and of frames dropped.
    pub(crate) fn read(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.frames), read(&self.bytes), read(&self.dropped))
    }
}
