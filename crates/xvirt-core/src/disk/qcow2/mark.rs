//! The dirty bit in the header, which means that refcounts may be wrong.

use std::io;

use crate::disk::file::ImageFile;
use crate::disk::segments::Segments;

/// The offset of the incompatible features. The dirty bit is the lowest, and no other is ever set here.
const FEATURES: u64 = 72;

/// Sets or clears the dirty bit; when this returns, that is on stable storage.
pub(super) fn set(file: &ImageFile, dirty: bool) -> io::Result<()> {
    let mut features = u64::from(dirty).to_be_bytes();
    file.write(&mut Segments::of_bytes(&mut features), FEATURES)?;
    file.sync()
}
