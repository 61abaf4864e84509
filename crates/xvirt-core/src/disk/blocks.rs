//! Tracks which blocks of a disk are done, and which are in progress.
//!
//! The user defines what "done" means: copied before it was overwritten, or fetched from elsewhere. A block that is
//! done stays done. A thread that works on blocks holds a [`Claim`] on them, so that each block is done once. No thread
//! waits for a claim while it holds one.

use std::ops::Range;
use std::sync::{Condvar, Mutex, PoisonError};

use super::bitmap::Bitmap;
use crate::sync::lock;

/// The blocks of a disk, in order; the last one may be shorter. Ranges are in bytes.
#[derive(Debug)]
pub(super) struct Blocks {
    size: u64,
    capacity: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    done: Bitmap,
    /// Claimed ranges, in block numbers.
    claimed: Vec<Range<u64>>,
}

/// Exclusive permission to work on some blocks. If it is dropped without [`finish`](Self::finish), they are not done.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    blocks: &'a Blocks,
    range: Range<u64>,
    finished: bool,
}

/// The number of blocks of a disk.
pub(super) fn count(capacity: u64, size: u64) -> u64 {
    capacity.div_ceil(size)
}

impl Blocks {
    /// Blocks of `size` bytes, of which those in `done` are done; its length must match [`count`].
    pub(super) fn new(capacity: u64, size: u64, done: Bitmap) -> Self {
        let state = Mutex::new(State { done, claimed: Vec::new() });
        Self { size, capacity, state, changed: Condvar::new() }
    }

    /// Whether all blocks that a range touches are done.
    pub(super) fn all_done(&self, bytes: Range<u64>) -> bool {
        let range = self.touched(bytes);
        range.is_empty() || lock(&self.state).done.run(range.clone()) == (true, range.end)
    }

    /// Whether the first block of a non-empty range is done, and the end of the run of blocks for which that is the
    /// same.
    pub(super) fn run(&self, bytes: Range<u64>) -> (bool, u64) {
        let (done, end) = lock(&self.state).done.run(self.touched(bytes.clone()));
        (done, end.saturating_mul(self.size).min(bytes.end))
    }

    /// Claims the first run of blocks in a range that are not done: at most `most` bytes, but at least one block. Waits
    /// while another thread has claimed the first one. `None` means that all are done.
    pub(super) fn claim_next(&self, bytes: Range<u64>, most: u64) -> Option<Claim<'_>> {
        let range = self.touched(bytes);
        let mut state = lock(&self.state);
        loop {
            let start = state.first_open(range.clone())?;
            if !state.claimed.iter().any(|claimed| claimed.contains(&start)) {
                let most = start + (most / self.size).max(1);
                let (_, end) = state.done.run(start..range.end.min(most));
                let others = state.claimed.iter().map(|claimed| claimed.start).filter(|other| *other > start);
                let end = others.fold(end, u64::min);
                return Some(self.claim(&mut state, start..end));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Claims all whole blocks of a range, unless all of them are done. Waits while another thread has claimed one.
    pub(super) fn claim_whole(&self, bytes: Range<u64>) -> Option<Claim<'_>> {
        let range = self.inside(bytes);
        let mut state = lock(&self.state);
        loop {
            state.first_open(range.clone())?;
            let overlaps = |other: &Range<u64>| other.start < range.end && range.start < other.end;
            if !state.claimed.iter().any(overlaps) {
                return Some(self.claim(&mut state, range));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The whole blocks inside a range, in bytes; may be empty.
    pub(super) fn whole(&self, bytes: Range<u64>) -> Range<u64> {
        let range = self.inside(bytes);
        range.start.saturating_mul(self.size)..range.end.saturating_mul(self.size).min(self.capacity)
    }

    /// The blocks that are done now.
    pub(super) fn done(&self) -> Bitmap {
        lock(&self.state).done.clone()
    }

    /// The number of blocks.
    pub(super) fn count(&self) -> u64 {
        count(self.capacity, self.size)
    }

    /// The number of blocks that are done.
    pub(super) fn done_count(&self) -> u64 {
        lock(&self.state).done.count()
    }

    /// Size of a block in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn claim(&self, state: &mut State, range: Range<u64>) -> Claim<'_> {
        state.claimed.push(range.clone());
        Claim { blocks: self, range, finished: false }
    }

    fn touched(&self, bytes: Range<u64>) -> Range<u64> {
        if bytes.is_empty() {
            return 0..0;
        }
        bytes.start / self.size..bytes.end.min(self.capacity).div_ceil(self.size)
    }

    fn inside(&self, bytes: Range<u64>) -> Range<u64> {
        let end = if bytes.end >= self.capacity { self.capacity.div_ceil(self.size) } else { bytes.end / self.size };
        bytes.start.div_ceil(self.size)..end
    }
}

impl State {
    fn first_open(&self, range: Range<u64>) -> Option<u64> {
        if range.is_empty() {
            return None;
        }
        match self.done.run(range.clone()) {
            (false, _) => Some(range.start),
            (true, end) => (end < range.end).then_some(end),
        }
    }
}

impl Claim<'_> {
    /// The claimed range, in bytes.
    pub(super) fn bytes(&self) -> Range<u64> {
        let Self { blocks, range, .. } = self;
        range.start * blocks.size..range.end.saturating_mul(blocks.size).min(blocks.capacity)
    }

    /// Marks the blocks as done.
    pub(super) fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.blocks.state);
        if self.finished {
            state.done.add(self.range.clone());
        }
        if let Some(index) = state.claimed.iter().position(|claimed| *claimed == self.range) {
            state.claimed.swap_remove(index);
        }
        self.blocks.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks() -> Blocks {
        Blocks::new(950, 100, Bitmap::new(count(950, 100)))
    }

    #[test]
    fn what_is_claimed_is_passed_over_and_what_is_dropped_is_to_be_done_again() {
        let blocks = blocks();
        let middle = blocks.claim_next(350..420, 1000).unwrap();
        assert_eq!(middle.bytes(), 300..500);
        let first = blocks.claim_next(150..950, 1000).unwrap();
        assert_eq!(first.bytes(), 100..300);
        first.finish();
        drop(middle);
        assert_eq!(blocks.run(100..950), (true, 300));
        assert_eq!(blocks.claim_next(100..950, 250).unwrap().bytes(), 300..500);
        assert!(blocks.all_done(100..300) && blocks.all_done(950..950) && !blocks.all_done(250..301));
        assert!(blocks.claim_next(120..280, 1000).is_none());
    }

    #[test]
    fn whole_blocks_are_claimed_together_and_a_short_last_one_is_whole() {
        let blocks = blocks();
        assert!(blocks.claim_whole(1..199).is_none());
        assert_eq!(blocks.claim_whole(1..299).unwrap().bytes(), 100..200);
        let end = blocks.claim_whole(799..950).unwrap();
        assert_eq!(end.bytes(), 800..950);
        end.finish();
        assert_eq!((blocks.run(0..950), blocks.run(820..940)), ((false, 800), (true, 940)));
        assert_eq!(blocks.done_count(), 2);
    }

    #[test]
    fn who_wants_a_claimed_block_waits_for_it() {
        let blocks = blocks();
        std::thread::scope(|scope| {
            let claim = blocks.claim_next(0..100, 100).unwrap();
            let next = scope.spawn(|| blocks.claim_next(0..100, 100).is_none());
            let whole = scope.spawn(|| blocks.claim_whole(0..100).is_none());
            // If it did not wait, it would return a claim now.
            std::thread::yield_now();
            claim.finish();
            assert!(next.join().unwrap() && whole.join().unwrap());
        });
    }
}
