//! What is counted of a network card's frames.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one network card, which its handler writes and anybody reads.
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
    /// A frame of `bytes`, without its virtio header, arrived.
    pub(super) fn passed(&self, bytes: u64) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A frame was lost.
    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames and bytes that passed, and frames that were lost.
    pub(crate) fn read(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.frames), read(&self.bytes), read(&self.dropped))
    }
}
