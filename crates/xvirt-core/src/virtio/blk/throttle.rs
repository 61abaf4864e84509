//! What keeps a disk to its limit.

use std::sync::Mutex;
use std::time::Instant;

use crate::config::RateLimit;
use crate::limit::Limiter;
use crate::sync::lock;
use crate::virtio::Chain;

/// The limit of a disk. It belongs to the disk and not to a handler, which a driver makes anew by resetting the device.
#[derive(Debug)]
pub(super) struct Throttle(Mutex<Limiter>);

impl Throttle {
    pub(super) fn open() -> Self {
        Self(Mutex::new(Limiter::new(RateLimit::none(), Instant::now())))
    }

    /// Lets a request through that was just popped, or says when to come back with it.
    pub(super) fn admit(&self, chain: &Chain) -> Result<(), Instant> {
        // One of the two is the data; the other one holds the header or the status.
        let bytes = chain.readable.len().max(chain.writable.len());
        lock(&self.0).grant(bytes, Instant::now())
    }

    pub(super) fn limit(&self) -> RateLimit {
        lock(&self.0).limit()
    }

    pub(super) fn set(&self, limit: RateLimit) {
        lock(&self.0).change(limit, Instant::now());
    }
}
