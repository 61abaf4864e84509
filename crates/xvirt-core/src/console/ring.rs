//! The newest output of a console, up to a limit. Each byte has a position, counted from the first byte.

use std::collections::VecDeque;

/// A bounded ring of bytes that is allocated as it fills.
///
/// Positions count from the first byte ever pushed. They never restart, and as u64 never wrap in practice.
pub(super) struct ConsoleRing {
    bytes: VecDeque<u8>,
    /// The position of the oldest byte kept.
    start: u64,
    limit: usize,
}

/// The first allocation: about one screenful of boot log.
const SMALLEST: usize = 4 << 10;

impl ConsoleRing {
    /// A ring that keeps the newest `limit` bytes. Allocates nothing yet.
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::new(), start: 0, limit }
    }

    /// A ring that goes on after `bytes`, the first of which is at position `start`.
    pub(super) fn after(start: u64, bytes: Vec<u8>, limit: usize) -> Self {
        let mut ring = Self { bytes: VecDeque::new(), start, limit };
        ring.push(&bytes);
        ring
    }

    /// The newest bytes, at most `count`.
    pub(super) fn newest(&self, count: usize) -> Vec<u8> {
        self.bytes.range(self.bytes.len().saturating_sub(count)..).copied().collect()
    }

    /// How many bytes it keeps at most.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The position of the oldest byte kept.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The position after the newest byte.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Appends `bytes`, overwriting the oldest ones when the limit is reached.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = self.reserve(bytes.len());
        // Of more bytes than fit, only the newest are kept; the rest count as overwritten.
        let skipped = bytes.len().saturating_sub(room);
        let kept = &bytes[skipped..];
        let dropped = (self.bytes.len() + kept.len()).saturating_sub(room);
        self.bytes.drain(..dropped);
        self.bytes.extend(kept);
        self.start += (skipped + dropped) as u64;
    }

    /// Copies the bytes kept from `position` into `buf`; returns how many.
    pub(super) fn copy(&self, position: u64, buf: &mut [u8]) -> usize {
        let skip = usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let (old, new) = self.bytes.as_slices();
        let old_part = &old[skip.min(old.len())..];
        let new_part = &new[skip.saturating_sub(old.len()).min(new.len())..];
        let first = old_part.len().min(buf.len());
        buf[..first].copy_from_slice(&old_part[..first]);
        let second = new_part.len().min(buf.len() - first);
        buf[first..first + second].copy_from_slice(&new_part[..second]);
        first + second
    }

    /// Makes room for `more` bytes within the limit; returns how many bytes the ring may now hold.
    ///
    /// If the host is out of memory, old output is lost, but the VM keeps running.
    fn reserve(&mut self, more: usize) -> usize {
        let wanted = self.bytes.len().saturating_add(more).min(self.limit);
        if wanted > self.bytes.capacity() {
            let grown = wanted.max(self.bytes.capacity() * 2).max(SMALLEST).min(self.limit);
            if self.bytes.try_reserve_exact(grown - self.bytes.len()).is_err() {
                return self.bytes.capacity().min(self.limit);
            }
        }
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(ring: &ConsoleRing, position: u64) -> Vec<u8> {
        let mut buf = vec![0; 64];
        let n = ring.copy(position, &mut buf);
        buf.truncate(n);
        buf
    }

    #[test]
    fn keeps_the_newest_bytes_and_their_positions() {
        let mut ring = ConsoleRing::new(8);
        ring.push(b"abcdef");
        assert_eq!((ring.start(), ring.end()), (0, 6));
        ring.push(b"ghij");
        assert_eq!((ring.start(), ring.end()), (2, 10));
        assert_eq!(contents(&ring, 2), b"cdefghij");
        assert_eq!(contents(&ring, 7), b"hij");
        assert_eq!(contents(&ring, 0), b"cdefghij");
        assert_eq!(contents(&ring, 99), b"");
    }

    #[test]
    fn a_push_larger_than_the_ring_keeps_its_tail() {
        let mut ring = ConsoleRing::new(4);
        ring.push(b"xy");
        ring.push(b"0123456789");
        assert_eq!((ring.start(), ring.end()), (8, 12));
        assert_eq!(contents(&ring, 8), b"6789");
    }

    #[test]
    fn memory_grows_with_output_and_stays_bounded() {
        let mut ring = ConsoleRing::new(1 << 20);
        assert_eq!(ring.bytes.capacity(), 0);
        ring.push(b"x");
        assert_eq!(ring.bytes.capacity(), SMALLEST);
        for _ in 0..3000 {
            ring.push(&[0; 1000]);
        }
        assert_eq!(ring.bytes.capacity(), 1 << 20);
        assert_eq!(ring.end() - ring.start(), 1 << 20);
    }

    #[test]
    fn a_ring_of_nothing_counts_only() {
        let mut ring = ConsoleRing::new(0);
        ring.push(b"abc");
        assert_eq!((ring.start(), ring.end()), (3, 3));
    }
}
