//! Preserves the contents of a disk at a point.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::CopyBeforeWrite;
use crate::disk::backend::BlockBackend;
use crate::disk::bitmap::Bitmap;
use crate::disk::blocks::{self, Blocks};
use crate::disk::extent::LastExtent;
use crate::memory::GuestSlice;
use crate::sync::lock;

/// The smallest unit copied, in bytes: less would cost more requests than it saves bytes.
const BLOCK: u64 = 64 << 10;
/// The most blocks; larger disks have larger blocks. This many bits take 16 MiB.
const MAX_BLOCKS: u64 = 1 << 27;
/// The most bytes copied at once, which bounds memory use.
const CHUNK: u64 = 1 << 20;

/// One point of one disk.
///
/// Its state is monotonic: preserved blocks stay preserved, released ones stay released, and a lost point stays lost.
#[derive(Debug)]
pub(super) struct PreservedBlocks {
    disk: Arc<CopyBeforeWrite>,
    capacity: u64,
    /// Preserved blocks are "done".
    kept: Blocks,
    /// Data ranges of the blocks that are not preserved and so have not changed.
    extent: LastExtent,
    /// The end of the released range.
    released: AtomicU64,
    scratch: Mutex<Scratch>,
}

/// The file of preserved blocks, each at its original offset, or why it is gone.
#[derive(Clone, Debug)]
enum Scratch {
    Open(Arc<dyn BlockBackend>),
    Lost { kind: io::ErrorKind, reason: String },
}

/// The first part of a range that lies in one file.
pub(super) struct Piece {
    /// Whether it is in the scratch file, rather than on the disk.
    pub(super) kept: bool,
    pub(super) place: Arc<dyn BlockBackend>,
    pub(super) end: u64,
}

impl PreservedBlocks {
    pub(super) fn new(disk: Arc<CopyBeforeWrite>, scratch: Arc<dyn BlockBackend>) -> Self {
        let capacity = disk.capacity();
        let size = BLOCK.max((capacity / MAX_BLOCKS).next_power_of_two());
        let kept = Blocks::new(capacity, size, Bitmap::new(blocks::count(capacity, size)));
        let scratch = Mutex::new(Scratch::Open(scratch));
        Self { disk, capacity, kept, extent: LastExtent::default(), released: AtomicU64::new(0), scratch }
    }

    /// Size of the disk at the point.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Copies the contents of a range, except blocks that are released or preserved already. Once this returns, the
    /// range may change.
    pub(super) fn keep(&self, range: Range<u64>) {
        let range = range.start.max(self.released.load(Ordering::Acquire))..range.end;
        while let Scratch::Open(scratch) = self.scratch() {
            let Some(claim) = self.kept.claim_next(range.clone(), CHUNK) else { return };
            match self.copy(claim.bytes(), &*scratch) {
                Ok(()) => claim.finish(),
                Err(lost) => self.lose(lost),
            }
        }
    }

    /// The first piece of a non-empty range, as of now. A reader must check again after reading: blocks preserved
    /// meanwhile may have changed on the disk.
    pub(super) fn piece(&self, range: Range<u64>) -> io::Result<Piece> {
        let (kept, end) = self.kept.run(range.clone());
        let released = self.released.load(Ordering::Acquire);
        if range.start < released {
            return Err(io::Error::other(format!("the view of the disk was released up to byte {released}")));
        }
        match self.scratch() {
            Scratch::Open(scratch) => {
                let place = if kept { scratch } else { Arc::clone(&self.disk) as _ };
                Ok(Piece { kept, place, end })
            }
            Scratch::Lost { kind, reason } => {
                Err(io::Error::new(kind, format!("the snapshot view of the disk is lost, because the host {reason}")))
            }
        }
    }

    /// Like [`BlockBackend::next_data`] for the file of a piece, starting at `at`.
    pub(super) fn next_data(&self, piece: &Piece, at: u64) -> io::Result<Option<Range<u64>>> {
        if piece.kept { piece.place.next_data(at) } else { self.extent.next_data(&*piece.place, at) }
    }

    /// Releases everything before `end`.
    pub(super) fn release(&self, end: u64) {
        let end = end.min(self.capacity);
        let before = self.released.fetch_max(end, Ordering::AcqRel);
        if let Scratch::Open(scratch) = self.scratch()
            && before < end
        {
            // Discarding only frees the space earlier, so an error does not matter.
            let _ = scratch.discard(before, end - before);
        }
    }

    fn scratch(&self) -> Scratch {
        lock(&self.scratch).clone()
    }

    /// Invalidates the view and frees its space at once, because the guest may need it.
    fn lose(&self, lost: Scratch) {
        if let Scratch::Lost { reason, .. } = &lost {
            tracing::warn!(reason, "a view of a running VM's disk is lost");
        }
        *lock(&self.scratch) = lost;
    }

    /// Copies a range except its holes, which are holes in the scratch file as well.
    fn copy(&self, range: Range<u64>, scratch: &dyn BlockBackend) -> Result<(), Scratch> {
        let (disk, mut at) = (&*self.disk, range.start);
        let mut memory = Vec::new();
        while at < range.end {
            let found = self.extent.next_data(disk, at).map_err(|error| lost("could not read the disk", at, &error))?;
            let Some(data) = found.filter(|data| data.start < range.end) else { return Ok(()) };
            let start = data.start.max(at);
            at = data.end.min(range.end).min(start + CHUNK);
            memory.resize(at.saturating_sub(start) as usize, 0);
            let buffers = [GuestSlice::from(memory.as_mut_slice())];
            disk.read(&buffers, start).map_err(|error| lost("could not read the disk", start, &error))?;
            scratch.write(&buffers, start).map_err(|error| lost("could not write the scratch file", start, &error))?;
        }
        Ok(())
    }
}

fn lost(what: &str, at: u64, error: &io::Error) -> Scratch {
    Scratch::Lost { kind: error.kind(), reason: format!("{what} at byte {at}: {error}") }
}
