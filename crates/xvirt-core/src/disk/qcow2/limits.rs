//! A check of memory use beyond the header, so that an image cannot exhaust memory.

use crate::disk::file::ImageFile;
use crate::disk::header::Header;
use crate::disk::layer::{Layer, LayerKind};
use crate::{Error, ErrorKind, Result};

/// The number of tables that the library caches per image: 128 L2 tables and 32 refcount blocks.
const CACHED_TABLES: u64 = 160;
/// The most memory for the tables of a chain, in bytes: enough for six images with the largest clusters.
const MAX_CACHE: u64 = 2 << 30;

/// Rejects a chain whose tables could take too much memory.
pub(super) fn memory(file: &ImageFile, header: &Header, below: &[Layer]) -> Result<()> {
    let cluster = |layer: &Layer| match &layer.kind {
        LayerKind::Raw => 0,
        LayerKind::Qcow2(header) => header.cluster_size,
    };
    let clusters = header.cluster_size + below.iter().map(cluster).sum::<u64>();
    if clusters * CACHED_TABLES <= MAX_CACHE {
        return Ok(());
    }
    let what = format!("disk image {} is based on too many images with large clusters", file.path().display());
    Err(Error::new(ErrorKind::UnsupportedImage, what)
        .with_remedy("flatten it: qemu-img convert -O qcow2 -o cluster_size=64k OLD NEW"))
}
