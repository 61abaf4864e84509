//! The mark in the header that says that refcounts may be wrong.

use std::io;

use crate::disk::file::ImageFile;
use crate::disk::segments::Segments;

/// Where the incompatible features are; the mark is their lowest bit, and no other feature is ever set here.
const FEATURES: u64 = 72;

/// Sets or takes away the mark; when this returns, that is on stable storage.
pub(super) fn set(file: &ImageFile, dirty: bool) -> io::Result<()> {
    let mut features = u64::from(dirty).to_be_bytes();
    file.write(&mut Segments::of_bytes(&mut features), FEATURES)?;
    file.sync()
}
