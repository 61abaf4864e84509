//! What is checked of an image before anybody writes to it.
//!
//! Its tables decide where the data of its guest goes, and its refcounts where new data and new tables go. Whoever made
//! the image made both, so both may lie: an L2 entry may point to the header, and a cluster that holds a table may be
//! called free. Then a guest could write its own tables, or a header that names any file of the host as a backing file.
//! So each cluster must have one use, or all its users must share it, and its refcount must cover them. The library
//! keeps that true of an image of which it is true.

use super::layout::Layout;
use super::{refcounts, usage};
use crate::disk::file::ImageFile;
use crate::disk::header::Header;
use crate::{Error, ErrorKind, Result};

/// How many clusters are looked at together; 256 MiB are enough for counting them.
const TOGETHER: u64 = 128 << 20;
/// More clusters than any image has that is of use: 64 TiB in clusters of 64 KiB.
const MAX_CLUSTERS: u64 = 1 << 30;

/// Refuses an image whose tables contradict each other. Says where its metadata is.
///
/// This reads all tables: 8 bytes for each cluster of the disk that holds anything, and their refcounts.
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
