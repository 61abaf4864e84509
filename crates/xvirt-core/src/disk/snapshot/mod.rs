//! Point-in-time views of the disks of a running VM, by copy-before-write.
//!
//! Every disk of a VM is a [`CopyBeforeWrite`], which costs one lock operation while there is no view. A *point*
//! (`preserved`) is created while no write is in flight; from then on, a block is copied to a scratch file before the
//! guest changes it. The [`SnapshotView`] (`view`) reads copied blocks from there, and all others from the disk.
//!
//! The guest has priority: it waits only for the copy of the blocks that it overwrites. If the copy fails, the view
//! becomes invalid and reports why, and the guest continues.

mod preserved;
mod previous;
mod view;

#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak};
use std::time::Instant;

use super::backend::BlockBackend;
use super::file::ImageFile;
use super::place::{Flights, Place};
use super::raw::RawDisk;
use super::segments::total;
use crate::memory::GuestSlice;
use crate::{Error, ErrorKind, Result};

use preserved::PreservedBlocks;
use previous::Closing;
pub(crate) use previous::PreviousDisk;
pub use view::SnapshotView;

/// The most views of a disk: each makes the guest copy what it overwrites once more.
const MAX: usize = 4;

/// The minimum size of a raw image, which the scratch file is.
const SECTOR: u64 = 512;

/// A disk whose old contents can be preserved while it is written.
#[derive(Debug)]
pub(crate) struct CopyBeforeWrite {
    disk: Arc<dyn BlockBackend>,
    /// Locked for reading by every change in flight, and for writing to create a point. A dropped view leaves its entry
    /// here until the next one is created.
    points: RwLock<Vec<Weak<PreservedBlocks>>>,
    /// Changes in flight that hold no lock. They are added with the points locked for reading.
    flights: Arc<Flights>,
    /// The last field, so that the disk is closed when this is dropped.
    closing: Closing,
}

/// Creates views of all `disks` at one point in time, in the same order. Preserved blocks are kept in unnamed files in
/// the folder `scratch`.
///
/// The disks block new changes only until the changes in flight are complete. Only one thread may call this at a time.
pub(crate) fn snapshot_views(disks: &[Arc<CopyBeforeWrite>], scratch: &Path) -> Result<Vec<Arc<SnapshotView>>> {
    let file = |disk: &Arc<CopyBeforeWrite>| {
        let file = ImageFile::unnamed(scratch, disk.capacity().max(SECTOR))?;
        Ok(Arc::new(RawDisk::new(Arc::new(file), false)?) as Arc<dyn BlockBackend>)
    };
    make(disks, disks.iter().map(file).collect::<Result<_>>()?)
}

fn make(disks: &[Arc<CopyBeforeWrite>], scratch: Vec<Arc<dyn BlockBackend>>) -> Result<Vec<Arc<SnapshotView>>> {
    // Everything slow happens before the disks stop.
    let preserved = |(disk, scratch)| Arc::new(PreservedBlocks::new(Arc::clone(disk), scratch));
    let preserved: Vec<_> = disks.iter().zip(scratch).map(preserved).collect();
    let began = Instant::now();
    let mut all: Vec<_> = disks.iter().map(|disk| disk.stand_still()).collect();
    for points in &mut all {
        points.retain(|point| point.strong_count() > 0);
        if points.len() >= MAX {
            return Err(Error::new(ErrorKind::Busy, format!("a disk of the VM already has {MAX} snapshot views"))
                .with_remedy("drop a view that is no longer needed"));
        }
    }
    for (points, preserved) in all.iter_mut().zip(&preserved) {
        points.push(Arc::downgrade(preserved));
    }
    drop(all);
    tracing::debug!(disks = disks.len(), still = ?began.elapsed(), "made a point in time");
    Ok(preserved.into_iter().map(|preserved| Arc::new(SnapshotView::new(preserved))).collect())
}

impl CopyBeforeWrite {
    /// Wraps `disk`, which must be written only through this from now on.
    pub(crate) fn new(disk: Arc<dyn BlockBackend>) -> Self {
        Self { disk, points: RwLock::default(), flights: Arc::default(), closing: Closing::default() }
    }

    /// A weak reference to the disk for the time after its run.
    pub(crate) fn previous(self: &Arc<Self>) -> PreviousDisk {
        PreviousDisk::new(self, &self.closing)
    }

    /// Whether somebody reads the disk as it was at an earlier point in time.
    pub(crate) fn has_views(&self) -> bool {
        let points = self.points.read().unwrap_or_else(PoisonError::into_inner);
        points.iter().any(|point| point.strong_count() > 0)
    }

    /// Waits until no change is in flight and blocks new ones.
    fn stand_still(&self) -> RwLockWriteGuard<'_, Vec<Weak<PreservedBlocks>>> {
        let points = self.points.write().unwrap_or_else(PoisonError::into_inner);
        self.flights.wait();
        points
    }

    /// Changes a range after all points have preserved its contents.
    fn change(&self, range: Range<u64>, change: impl FnOnce(&dyn BlockBackend) -> io::Result<()>) -> io::Result<()> {
        // Held to the end, so that a new point has all of the change or nothing of it.
        let points = self.points.read().unwrap_or_else(PoisonError::into_inner);
        for point in points.iter().filter_map(Weak::upgrade) {
            point.keep(range.clone());
        }
        change(&*self.disk)
    }
}

impl BlockBackend for CopyBeforeWrite {
    fn capacity(&self) -> u64 {
        self.disk.capacity()
    }

    fn read_only(&self) -> bool {
        self.disk.read_only()
    }

    fn block_size(&self) -> u32 {
        self.disk.block_size()
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.disk.read(buffers, offset)
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.change(range(offset, total(buffers)), |disk| disk.write(buffers, offset))
    }

    fn place(&self, offset: u64, length: u64, write: bool) -> Option<Place> {
        if !write {
            return self.disk.place(offset, length, write);
        }
        let points = self.points.try_read().ok()?;
        if points.iter().any(|point| point.strong_count() > 0) {
            return None;
        }
        self.disk.place(offset, length, write)?.counted(&self.flights)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }

    fn flush_to_close(&self) -> io::Result<()> {
        self.disk.flush_to_close()
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.change(range(offset, length), |disk| disk.discard(offset, length))
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.change(range(offset, length), |disk| disk.write_zeroes(offset, length, unmap))
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.disk.next_data(offset)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        // The new part lies beyond the end of all views.
        self.disk.grow(size)
    }
}

fn range(offset: u64, length: u64) -> Range<u64> {
    offset..offset.saturating_add(length)
}
