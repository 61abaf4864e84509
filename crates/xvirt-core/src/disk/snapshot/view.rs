//! Reads the contents of a disk at a point.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::preserved::PreservedBlocks;
use crate::disk::backend::{BlockBackend, read_only};
use crate::disk::raw::within;
use crate::disk::segments::{part, total};
use crate::memory::GuestSlice;

/// A disk at a point in time, regardless of later writes: a read-only backend.
///
/// While the view exists, the disk's image stays locked, and old contents of overwritten blocks take space in the
/// scratch file. If the host cannot preserve them, usually because the scratch file's file system is full, all further
/// reads fail with that reason; the guest is not affected. May be used from several threads.
#[derive(Debug)]
pub struct SnapshotView {
    preserved: Arc<PreservedBlocks>,
}

impl SnapshotView {
    pub(super) fn new(preserved: Arc<PreservedBlocks>) -> Self {
        Self { preserved }
    }

    /// Releases everything before byte `end`: its old contents are not preserved any more, and reading it fails. A
    /// reader that goes from start to end reduces the copies that the guest waits for this way.
    pub fn release(&self, end: u64) {
        self.preserved.release(end);
    }
}

impl BlockBackend for SnapshotView {
    fn capacity(&self) -> u64 {
        self.preserved.capacity()
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let length = total(buffers);
        within(self.capacity(), offset, length)?;
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let piece = self.preserved.piece(at..end)?;
            piece.place.read(&part(buffers, at - offset..piece.end - offset), at)?;
            let after = self.preserved.piece(at..piece.end)?;
            // Blocks that were preserved while they were read from the disk are read again.
            if after.kept == piece.kept {
                at = after.end;
            }
        }
        Ok(())
    }

    fn write(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Err(read_only())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let mut at = offset;
        while at < self.capacity() {
            let piece = self.preserved.piece(at..self.capacity())?;
            let found = self.preserved.next_data(&piece, at)?;
            let after = self.preserved.piece(at..piece.end)?;
            if after.kept != piece.kept {
                continue;
            }
            match found.filter(|data| data.start < after.end) {
                Some(data) => return Ok(Some(data.start.max(at)..data.end.min(after.end))),
                None => at = after.end,
            }
        }
        Ok(None)
    }
}
