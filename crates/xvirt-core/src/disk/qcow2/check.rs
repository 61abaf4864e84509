//! Checks the consistency of an image before it is written.
//!
//! The tables of an image decide where guest data is, and its refcounts decide where new data and tables go. Both are
//! untrusted: an L2 entry may point to the header, and a cluster that holds a table may be marked as free. Then a guest
//! could overwrite its own tables, or the header with one that names any file of the host as backing file. So each
//! cluster must have a single use, or uses that may share it, and a refcount that covers them. The library preserves
//! that property.

use super::layout::Layout;
use super::{refcounts, usage};
use crate::disk::file::ImageFile;
use crate::disk::header::Header;
use crate::{Error, ErrorKind, Result};

/// The number of clusters counted in one pass, which needs 256 MiB.
const TOGETHER: u64 = 128 << 20;
/// A limit above the size of any useful image: 64 TiB with clusters of 64 KiB.
const MAX_CLUSTERS: u64 = 1 << 30;

/// Rejects an image whose tables are inconsistent. Returns the layout of its metadata.
///
/// This reads all tables: 8 bytes per allocated cluster of the disk, and their refcounts.
pub(super) fn check(file: &ImageFile, header: &Header) -> Result<Layout> {
    let layout = Layout::read(file, header)?;
    let last = layout.clusters.keys().max().map_or(0, |last| last + 1);
    let clusters = usage::clusters(file, header)?.max(last);
    if clusters > MAX_CLUSTERS {
        let what = format!("disk image {} has more than {MAX_CLUSTERS} clusters", file.path().display());
        return Err(Error::new(ErrorKind::UnsupportedImage, what)
            .with_remedy("convert it: qemu-img convert -O qcow2 -o cluster_size=2M OLD NEW"));
    }
    for first in (0..clusters).step_by(TOGETHER as usize) {
        let uses = usage::count(file, header, &layout, first..clusters.min(first + TOGETHER))?;
        refcounts::cover(file, header, &layout, first, &uses)?;
    }
    Ok(layout)
}
