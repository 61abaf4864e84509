//! The guest's requests to a streaming disk.

use std::io;
use std::ops::Range;

use super::StreamingDisk;
use crate::disk::backend::BlockBackend;
use crate::disk::place::Place;
use crate::disk::raw::within;
use crate::disk::segments::total;
use crate::memory::GuestSlice;

impl StreamingDisk {
    /// A range of the disk, in bytes.
    fn range(&self, offset: u64, length: u64) -> io::Result<Range<u64>> {
        within(self.capacity(), offset, length).map(|()| offset..offset + length)
    }

    /// Waits until all blocks that a range touches are in the target.
    fn fetch(&self, range: Range<u64>) -> io::Result<()> {
        if self.is_complete() || self.blocks.all_done(range.clone()) {
            return Ok(());
        }
        let _first = self.guests.come();
        while let Some(claim) = self.blocks.claim_next(range.clone(), self.blocks.size()) {
            self.fill(claim.bytes())?;
            claim.finish();
        }
        Ok(())
    }

    /// Calls `change`, which overwrites a range. Blocks that are overwritten completely are not fetched.
    fn replace(&self, range: Range<u64>, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.is_complete() {
            return change();
        }
        let whole = self.blocks.whole(range.clone());
        if whole.is_empty() {
            self.fetch(range)?;
            return change();
        }
        self.fetch(range.start..whole.start)?;
        self.fetch(whole.end..range.end)?;
        let claim = self.blocks.claim_whole(whole);
        change()?;
        if let Some(claim) = claim {
            claim.finish();
        }
        Ok(())
    }

    /// Shortens a range by partial blocks at its ends that are not in the target.
    fn without_missing_ends(&self, mut range: Range<u64>) -> Range<u64> {
        let whole = self.blocks.whole(range.clone());
        let missing = |part: Range<u64>| !self.blocks.all_done(part);
        if whole.is_empty() {
            return if missing(range.clone()) { range.start..range.start } else { range };
        }
        if missing(range.start..whole.start) {
            range.start = whole.start;
        }
        if missing(whole.end..range.end) {
            range.end = whole.end;
        }
        range
    }
}

impl BlockBackend for StreamingDisk {
    fn capacity(&self) -> u64 {
        self.target.capacity()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn block_size(&self) -> u32 {
        self.target.block_size()
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.fetch(self.range(offset, total(buffers))?)?;
        self.target.read(buffers, offset)
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let range = self.range(offset, total(buffers))?;
        self.replace(range, || self.target.write(buffers, offset))
    }

    fn place(&self, offset: u64, length: u64, write: bool) -> Option<Place> {
        let there = self.is_complete() || !write && self.blocks.all_done(self.range(offset, length).ok()?);
        there.then(|| self.target.place(offset, length, write)).flatten()
    }

    fn flush(&self) -> io::Result<()> {
        self.settle()
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        // Missing blocks need not be fetched only to be discarded.
        let range = self.without_missing_ends(self.range(offset, length)?);
        if range.is_empty() {
            return Ok(());
        }
        let (start, length) = (range.start, range.end - range.start);
        self.replace(range, || self.target.discard(start, length))
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        let range = self.range(offset, length)?;
        self.replace(range, || self.target.write_zeroes(offset, length, unmap))
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let mut at = offset;
        while at < self.capacity() {
            let (done, end) = self.blocks.run(at..self.capacity());
            let found = match self.source().filter(|_| !done) {
                Some(source) => source.next_data(at)?,
                None => self.target.next_data(at)?,
            };
            match found.filter(|data| data.start < end) {
                Some(data) => return Ok(Some(data.start.max(at)..data.end.min(end))),
                None => at = end,
            }
        }
        Ok(None)
    }
}
