//! qcow2 images with their chains, through the `imago` library, which is used only in this folder.
//!
//! The library gets only images with validated headers, and files that we opened and locked. Requests that change where
//! data lies (the first write to a cluster, discard, zero) run exclusively; reads, and writes to allocated clusters,
//! run concurrently. So no two threads use the tables of an image at once, and no cluster is freed while it is in use.
//!
//! The library keeps refcounts in memory until a flush, while the tables in the file already use the clusters. If a
//! process is killed in this state, the next writer would put new data over tables. So an image is marked as dirty
//! before its tables first change until it is closed, like QEMU does with lazy refcounts, and opening a dirty image for
//! writing recounts.
//!
//! The tables of an image decide where guest data is written. `check` rejects writing to an image with inconsistent
//! tables; `metadata` tracks them while the image is written, and refuses data over them. Reading is allowed in any
//! case: an entry that points to a table only shows the guest bytes of its own image.

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

use std::io;
use std::ops::Range;
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

/// Rejects an image whose tables are inconsistent. No one may write to it meanwhile.
pub(super) fn check(file: &ImageFile, header: &Header) -> Result<()> {
    check::check(file, header).map(drop)
}

/// Opens an image with a validated header on top of the layers below it.
pub(super) fn open(
    file: Arc<ImageFile>,
    header: &Header,
    below: Vec<Layer>,
    read_only: bool,
) -> Result<Arc<dyn BlockBackend>> {
    Ok(Arc::new(Qcow2Disk::new(file, header, below, read_only)?))
}

/// Initializes a new file as an empty image, with the given backing file if any.
pub(super) fn create(file: &Arc<ImageFile>, size: u64, backing: Option<(String, ImageFormat)>) -> Result<()> {
    let storage = ImageStorage::new(Arc::clone(file), CLUSTER);
    let mut builder = Qcow2::<ImageStorage>::create_builder(storage).size(size).cluster_size(CLUSTER as usize);
    if let Some((name, format)) = backing {
        builder = builder.backing(name, format.to_string());
    }
    builder.create().map_err(|error| cannot("create", file.path(), error))
}

/// Grows the disk in an image.
pub(super) fn grow(file: &Arc<ImageFile>, header: &Header, below: Vec<Layer>, size: u64) -> Result<()> {
    let disk = Qcow2Disk::new(Arc::clone(file), header, below, false)?;
    disk.grow(size).and_then(|()| disk.close()).map_err(|error| cannot("grow", file.path(), error))
}

/// Whether the image itself holds data or zeroes, rather than showing only its backing file.
pub(super) fn has_own_data(file: Arc<ImageFile>, header: &Header, below: Vec<Layer>) -> Result<bool> {
    let path = file.path().to_owned();
    let disk = Qcow2Disk::new(file, header, below, true)?;
    disk.has_own_data().map_err(|error| cannot("read", &path, error))
}

/// An image that is opened to find what it has allocated itself.
#[derive(Debug)]
pub(super) struct OwnData(Qcow2Disk);

impl OwnData {
    pub(super) fn new(file: Arc<ImageFile>, header: &Header, below: Vec<Layer>) -> Result<Self> {
        Qcow2Disk::new(file, header, below, true).map(Self)
    }

    /// The parts of `range` whose data or zeroes are in the image itself, and not in one below it.
    pub(super) fn within(&self, range: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        self.0.own_data(range)
    }
}
