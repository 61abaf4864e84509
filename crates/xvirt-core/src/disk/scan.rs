//! Reads a whole disk except its holes.

use super::backend::BlockBackend;
use crate::memory::GuestSlice;
use crate::progress::{self, Progress};
use crate::{Error, Result};

/// The smallest unit passed to `visit`, in bytes.
pub(crate) const BLOCK: u64 = 64 << 10;
/// The number of bytes read at once.
const CHUNK: u64 = 16 * BLOCK;

/// Calls `visit` with all data of `disk` outside of holes: offset and bytes, in ascending order, in whole blocks of
/// [`BLOCK`] bytes (the last one ends with the disk). The data may contain zeroes, and everything left out is zeroes.
///
/// `work` names the operation in messages, as in "the copy".
pub(crate) fn scan(
    disk: &dyn BlockBackend,
    work: &str,
    progress: &dyn Progress,
    mut visit: impl FnMut(u64, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let capacity = disk.capacity();
    let cannot = |error| Error::io(format!("{work} cannot read the disk"), error);
    let mut buffer = vec![0; CHUNK as usize];
    let mut at = 0;
    while let Some(range) = disk.next_data(at).map_err(cannot)? {
        let start = (range.start / BLOCK * BLOCK).max(at);
        let end = range.end.next_multiple_of(BLOCK).min(capacity).min(start + CHUNK);
        let Some(chunk) = buffer.get_mut(..end.saturating_sub(start) as usize).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        progress::step(progress, start, Some(capacity), work)?;
        disk.read(&[GuestSlice::from(&mut *chunk)], start).map_err(cannot)?;
        visit(start, chunk)?;
        at = end;
    }
    progress::step(progress, capacity, Some(capacity), work)
}
