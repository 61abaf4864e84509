//! Caches the location of a disk's data.

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use super::backend::BlockBackend;
use crate::sync::lock;

/// The last data range found on a disk whose holes do not change.
///
/// A file system may have to check every page up to the next hole to answer, which is too slow to repeat for each
/// block.
#[derive(Debug, Default)]
pub(super) struct LastExtent(Mutex<Range<u64>>);

impl LastExtent {
    /// Like [`BlockBackend::next_data`]. `disk` must be the same in every call.
    pub(super) fn next_data(&self, disk: &dyn BlockBackend, offset: u64) -> io::Result<Option<Range<u64>>> {
        let last = lock(&self.0).clone();
        if last.contains(&offset) {
            return Ok(Some(offset..last.end));
        }
        let found = disk.next_data(offset)?;
        if let Some(data) = &found {
            *lock(&self.0) = data.clone();
        }
        Ok(found)
    }
}
