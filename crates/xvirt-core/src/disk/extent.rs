//! Asking where a disk has data, but not more often than needed.

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use super::backend::BlockBackend;
use crate::sync::lock;

/// The last data that was found on a disk which does not change where it is asked for.
///
/// A file system may have to look at every page up to the next hole before it answers, which is too much to be done
/// again for each block.
#[derive(Debug, Default)]
pub(super) struct LastExtent(Mutex<Range<u64>>);

impl LastExtent {
    /// As [`BlockBackend::next_data`] of always the same `disk`.
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
