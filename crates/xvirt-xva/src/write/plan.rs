//! Lists the chunks to examine: the first and last of each disk, and those between that are not in holes.

use std::ops::Range;

use super::source::Source;
use crate::chunk::CHUNK;
use crate::{Error, Result};

/// A chunk to prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// The index of its disk.
    pub(super) disk: usize,
    pub(super) number: u64,
    /// Whether the archive must contain it even if it is all zeroes: the first and the last.
    pub(super) required: bool,
    /// The bytes of all disks up to the end of this chunk.
    pub(super) done: u64,
}

/// Iterates over the chunks of all disks in order.
pub(super) struct Plan<'a, Cancelled> {
    disks: &'a [Source<'a>],
    cancelled: Cancelled,
    disk: usize,
    /// The bytes of the finished disks.
    before: u64,
    number: u64,
    /// The last result of `next_data`.
    data: Option<Range<u64>>,
}

impl<'a, Cancelled: Fn() -> bool> Plan<'a, Cancelled> {
    /// All chunks of `disks`. Stops searching for data once `cancelled` returns true.
    pub(super) fn new(disks: &'a [Source<'a>], cancelled: Cancelled) -> Self {
        Self { disks, cancelled, disk: 0, before: 0, number: 0, data: None }
    }

    /// The number of the next chunk at or after `number` that may contain data; otherwise `last`.
    fn with_data(&mut self, source: &Source<'_>, number: u64, last: u64) -> Result<u64> {
        let start = number * CHUNK;
        if self.data.as_ref().is_none_or(|data| data.end <= start) {
            let cannot = |error| Error::io(format!("cannot find the holes of disk {}", source.id), error);
            self.data = source.contents.next_data(start).map_err(cannot)?;
        }
        Ok(self.data.as_ref().map_or(last, |data| (data.start.max(start) / CHUNK).min(last)))
    }

    fn step(&mut self) -> Result<Option<Job>> {
        while let Some(source) = self.disks.get(self.disk) {
            let count = source.size.div_ceil(CHUNK);
            if self.number >= count || (self.cancelled)() {
                self.before += source.size;
                (self.disk, self.number, self.data) = (self.disk + 1, 0, None);
                continue;
            }
            let last = count - 1;
            let number = if self.number == 0 { 0 } else { self.with_data(source, self.number, last)? };
            self.number = number + 1;
            let end = (number + 1).saturating_mul(CHUNK).min(source.size);
            let required = number == 0 || number == last;
            return Ok(Some(Job { disk: self.disk, number, required, done: self.before + end }));
        }
        Ok(None)
    }
}

impl<Cancelled: Fn() -> bool> Iterator for Plan<'_, Cancelled> {
    type Item = Result<Job>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
