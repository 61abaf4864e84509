//! qcow2 images with their chains, through the library `imago`, which appears nowhere outside this folder.
//!
//! The library sees only images whose headers passed our own check, and files that we opened and locked. Requests that
//! change where data lies (the first write to a cluster, discarding, zeroing) run alone; reads, and writes to clusters
//! that are there already, run side by side. So no two threads ever work on the tables of an image at once, and no
//! cluster is given back while somebody uses it.
//!
//! The library keeps refcounts in memory until a flush, while the tables in the file already use the clusters. A process
//! that is killed would leave an image in which the next writer puts new data over tables. So an image is marked as
//! dirty before its tables first change and until it is closed, as QEMU does with lazy refcounts, and whoever opens a
//! dirty image for writing counts anew.
//!
//! The tables of an image decide where the data of its guest is written. `check` refuses to write to an image whose
//! tables contradict each other; `metadata` knows where they are while it is written, and keeps data away from them.
//! Reading is allowed all the same: an entry that points to a table shows the guest bytes of its own image.

mod check;
mod disk;
mod extras;
mod layout;
mod limits;
mod mark;
mod metadata;
mod refcounts;
mod repair;
mod storage;
mod table;
#[cfg(test)]
mod tests;
mod usage;

use std::sync::Arc;

use imago::FormatCreateBuilder;
use imago::qcow2::Qcow2;

use self::disk::Qcow2Disk;
pub(super) use self::repair::repair;
use self::storage::ImageStorage;
use super::backend::BlockBackend;
use super::file::{ImageFile, cannot};
use super::format::ImageFormat;
use super::header::CLUSTER;
use super::header::Header;
use super::layer::Layer;
use crate::Result;

/// Refuses an image whose tables contradict each other. Nobody may write to it meanwhile.
pub(super) fn check(file: &ImageFile, header: &Header) -> Result<()> {
    check::check(file, header).map(drop)
}

/// Opens an image whose header was judged, on top of the layers below it.
pub(super) fn open(
    file: Arc<ImageFile>,
    header: &Header,
    below: Vec<Layer>,
    read_only: bool,
) -> Result<Arc<dyn BlockBackend>> {
    Ok(Arc::new(Qcow2Disk::new(file, header, below, read_only)?))
}

/// Fills a new file with an empty image, based on the file of that name if one is given.
pub(super) fn create(file: &Arc<ImageFile>, size: u64, backing: Option<(String, ImageFormat)>) -> Result<()> {
    let storage = ImageStorage::new(Arc::clone(file), CLUSTER);
    let mut builder = Qcow2::<ImageStorage>::create_builder(storage).size(size).cluster_size(CLUSTER as usize);
    if let Some((name, format)) = backing {
        builder = builder.backing(name, format.to_string());
    }
    builder.create().map_err(|error| cannot("create", file.path(), error))
}

/// Makes the disk in an image bigger.
pub(super) fn grow(file: &Arc<ImageFile>, header: &Header, below: Vec<Layer>, size: u64) -> Result<()> {
    let disk = Qcow2Disk::new(Arc::clone(file), header, below, false)?;
    disk.grow(size).and_then(|()| disk.close()).map_err(|error| cannot("grow", file.path(), error))
}

/// Whether the image holds anything itself, be it data or zeroes, rather than showing what is below.
pub(super) fn has_own_data(file: Arc<ImageFile>, header: &Header, below: Vec<Layer>) -> Result<bool> {
    let path = file.path().to_owned();
    let disk = Qcow2Disk::new(file, header, below, true)?;
    disk.has_own_data().map_err(|error| cannot("read", &path, error))
}
