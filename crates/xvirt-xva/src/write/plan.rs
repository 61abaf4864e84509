//! Which chunks have to be looked at: the first and the last of each disk, and those between that no hole covers.

use std::ops::Range;

use super::source::Source;
use crate::chunk::CHUNK;
use crate::{Error, Result};

/// A chunk to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// The position of its disk.
    pub(super) disk: usize,
    pub(super) number: u64,
    /// Whether the archive must hold it, whatever is in it: the first and the last.
    pub(super) required: bool,
    /// Bytes of all disks up to the end of this chunk.
    pub(super) done: u64,
}

/// Goes through the chunks of all disks in order.
pub(super) struct Plan<'a, Cancelled> {
    disks: &'a [Source<'a>],
    cancelled: Cancelled,
    disk: usize,
    /// Bytes of the disks that are done.
    before: u64,
    number: u64,
    /// What `next_data` said last.
    data: Option<Range<u64>>,
}

impl<'a, Cancelled: Fn() -> bool> Plan<'a, Cancelled> {
    /// All chunks of `disks`. Looking for data ends once `cancelled` says so.
    pub(super) fn new(disks: &'a [Source<'a>], cancelled: Cancelled) -> Self {
        Self { disks, cancelled, disk: 0, before: 0, number: 0, data: None }
    }

    /// The number of the next chunk at or after `number` that may hold data; that of the last one at the end.
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
