//! What is checked beyond the header before the library sees an image: that it cannot be made to take all memory or time.

use std::collections::HashSet;

use crate::disk::chain::{Layer, LayerKind};
use crate::disk::create::cannot;
use crate::disk::file::ImageFile;
use crate::disk::header::{Header, corrupt};
use crate::disk::segments::Segments;
use crate::{Error, ErrorKind, Result};

/// How many tables the library keeps in memory for each image: 128 L2 tables and 32 refcount blocks.
const CACHED_TABLES: u64 = 160;
/// What the tables of a chain may take together, in bytes. Six images with the biggest clusters fit.
const MOST_CACHE: u64 = 2 << 30;

/// Refuses a chain whose tables could take too much memory.
pub(super) fn memory(file: &ImageFile, header: &Header, below: &[Layer]) -> Result<()> {
    let cluster = |layer: &Layer| match &layer.kind {
        LayerKind::Raw => 0,
        LayerKind::Qcow2(header) => header.cluster_size,
    };
    let clusters = header.cluster_size + below.iter().map(cluster).sum::<u64>();
    if clusters * CACHED_TABLES <= MOST_CACHE {
        return Ok(());
    }
    let what = format!("disk image {} is based on too many images with big clusters", file.path().display());
    Err(Error::new(ErrorKind::UnsupportedImage, what)
        .remedy("flatten it: qemu-img convert -O qcow2 -o cluster_size=64k OLD NEW"))
}

/// Refuses a refcount table that names a block twice, through which a small image could seem to have endlessly many
/// clusters in use, and looking for a free one would not end. And one without a block for the first clusters, in which the
/// header is: to find room for that block the library would first look for room for that block, until the stack ends.
pub(super) fn refcount_table(file: &ImageFile, header: &Header) -> Result<()> {
    let read = |bytes: &mut [u8]| file.read(&mut Segments::of_bytes(bytes), header.refcount_offset);
    let mut bytes = vec![0; header.refcount_bytes as usize];
    read(&mut bytes).map_err(|error| cannot("open", file.path(), error))?;
    let length = file.len().map_err(|error| cannot("open", file.path(), error))?;
    let entries = bytes.chunks_exact(8).map(|entry| entry.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
    if bytes.iter().take(8).all(|byte| *byte == 0) {
        return Err(corrupt(file.path(), "its header has no refcount"));
    }
    let mut seen = HashSet::new();
    for block in entries.filter(|block| *block != 0) {
        if !block.is_multiple_of(header.cluster_size) || block >= length || !seen.insert(block) {
            return Err(corrupt(file.path(), &format!("its refcount table points to {block:#x}")));
        }
    }
    Ok(())
}
