//! Whether an instance has written to a disk.

use std::fs;
use std::path::Path;

use crate::Result;
use crate::disk::{self, BlockBackend};
use crate::repository::{OwnDisk, TemplateDisk};

/// Whether an overlay still has the contents of its template's disk `was` at `below`; `None` if it is not an overlay of
/// that, such as a reflink, whose contents have to be compared.
pub(super) fn overlay_is_unwritten(
    own: &OwnDisk,
    opened: &dyn BlockBackend,
    below: &Path,
    was: &TemplateDisk,
) -> Result<Option<bool>> {
    let base = disk::inspect(&own.path, Some(own.format))?.backing.into_iter().next();
    if !base.is_some_and(|base| is_same(&base.path, below)) {
        return Ok(None);
    }
    let same_size = opened.capacity() == was.size;
    Ok(Some(same_size && !disk::has_own_data(&own.path, own.format)?))
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}
