//! Reusable buffers, because fresh memory costs more than most of the work on it.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::thread::lock;

/// A pool of buffers of the same size. It is unbounded; its users bound the number of buffers.
#[derive(Clone)]
pub(crate) struct Pool {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    size: usize,
}

impl Pool {
    /// A pool of buffers of `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        Self { free: Arc::default(), size }
    }

    /// A buffer of the full size with arbitrary contents.
    pub(crate) fn take(&self) -> Vec<u8> {
        lock(&self.free).pop().unwrap_or_else(|| vec![0; self.size])
    }

    /// The size of each buffer, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Takes back an unshared buffer.
    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        lock(&self.free).push(buffer);
    }

    /// Takes back a buffer if it has the pool's size.
    fn take_back(&self, buffer: Vec<u8>) {
        if buffer.len() == self.size {
            self.give_back(buffer);
        }
    }

    /// Shares the first `length` bytes of a buffer, which returns to the pool with the last reference. A few bytes are
    /// copied instead, so that they do not pin the whole buffer.
    pub(crate) fn share(&self, buffer: Vec<u8>, length: usize) -> Bytes {
        let length = length.min(buffer.len());
        if length < buffer.len() / 2 {
            let copy = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
            self.take_back(buffer);
            return copy;
        }
        Bytes::from_owner(Lent { buffer, length, pool: self.clone() })
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("size", &self.size).finish_non_exhaustive()
    }
}

struct Lent {
    buffer: Vec<u8>,
    length: usize,
    pool: Pool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.take_back(std::mem::take(&mut self.buffer));
    }
}
