//! A disk that is usable at once while its data is still elsewhere: in an archive, or on another host.
//!
//! A [`StreamingDisk`] reads a block from its slow source on first access, writes it to the target image and never
//! reads it from the source again; the rest follows in the background. `map` is the file that records which blocks are
//! in the target, `requests` implements the disk, and `complete` is the background copy.
//!
//! The state survives a kill or a power failure at any moment: the map is written only after the target was flushed,
//! and before the guest's own flush completes. A block that is not in the map is fetched again, over whatever an
//! unflushed write left there, which is no loss because it was not flushed.

mod complete;
mod map;
mod requests;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::backend::BlockBackend;
use super::bitmap::Bitmap;
use super::blocks::{self, Blocks};
use super::extent::LastExtent;
use crate::memory::GuestSlice;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

use complete::Guests;
use map::Map;

/// The valid block sizes in bytes: a block is fetched as a whole, and held in memory meanwhile.
const BLOCK_SIZES: Range<u64> = 4 << 10..(64 << 20) + 1;
/// The most blocks: the map is written as a whole, and takes 16 MiB with this many.
const MAX_BLOCKS: u64 = 1 << 27;

/// A disk that fetches its data from a slow source on demand and keeps it in a target image.
///
/// May be used from several threads. While a block is fetched, only requests that need it wait. An error of the source
/// fails the request that needed it; the next one tries again.
#[derive(Debug)]
pub struct StreamingDisk {
    target: Arc<dyn BlockBackend>,
    /// `None` once all data is in the target.
    source: RwLock<Option<Arc<dyn BlockBackend>>>,
    /// Data ranges of the source.
    extent: LastExtent,
    /// Blocks in the target are "done".
    blocks: Blocks,
    map: Mutex<Map>,
    /// The map on stable storage says that all blocks are in the target.
    complete: AtomicBool,
    guests: Guests,
}

impl StreamingDisk {
    /// Creates a disk that fetches from `source` in blocks of `block_size` bytes, and records fetched blocks in a new
    /// file `map`. When this returns, the map is on stable storage.
    ///
    /// `source` must never change. `target` must be written only through this disk and read as zeroes so far, like a
    /// new image.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if the file `map` exists;
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if source and target differ in size, the target is read-only, or the
    /// block size is not a power of two from 4 KiB to 64 MiB or is too small for the disk; or `map` cannot be written.
    pub fn create(
        source: Arc<dyn BlockBackend>,
        target: Arc<dyn BlockBackend>,
        map: impl AsRef<Path>,
        block_size: u64,
    ) -> Result<Self> {
        check(&*source, &*target, block_size)?;
        let done = Bitmap::new(blocks::count(target.capacity(), block_size));
        let map = Map::create(map.as_ref(), target.capacity(), block_size, &done)?;
        Ok(Self::new(source, target, map, done))
    }

    /// Opens a disk that was used before, with the same `map`, `target` and `source`.
    ///
    /// # Errors
    /// [`CorruptImage`](ErrorKind::CorruptImage) if the map is damaged;
    /// [`UnsupportedImage`](ErrorKind::UnsupportedImage) if a newer version wrote it; [`NotFound`](ErrorKind::NotFound)
    /// if it is missing; [`InvalidConfig`](ErrorKind::InvalidConfig) if it belongs to a disk of another size.
    pub fn open(source: Arc<dyn BlockBackend>, target: Arc<dyn BlockBackend>, map: impl AsRef<Path>) -> Result<Self> {
        let (map, done) = Map::open(map.as_ref(), target.capacity())?;
        check(&*source, &*target, map.block_size())?;
        Ok(Self::new(source, target, map, done))
    }

    /// Whether all data is in the target, on stable storage. Then neither source nor map is needed any more, and the
    /// target can be opened by itself.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    fn new(source: Arc<dyn BlockBackend>, target: Arc<dyn BlockBackend>, map: Map, done: Bitmap) -> Self {
        let complete = done.count() == done.len();
        Self {
            blocks: Blocks::new(target.capacity(), map.block_size(), done),
            source: RwLock::new((!complete).then_some(source)),
            extent: LastExtent::default(),
            target,
            map: Mutex::new(map),
            complete: AtomicBool::new(complete),
            guests: Guests::default(),
        }
    }

    /// The source of missing blocks; `None` if none is missing.
    fn source(&self) -> Option<Arc<dyn BlockBackend>> {
        self.source.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Copies blocks that the caller has claimed. The target reads as zeroes already, so holes are skipped.
    fn fill(&self, range: Range<u64>) -> io::Result<()> {
        let gone = || io::Error::other("the source of the disk is closed");
        let (source, size) = (self.source().ok_or_else(gone)?, self.blocks.size());
        let (mut at, mut memory) = (range.start, Vec::new());
        while let Some(data) = self.extent.next_data(&*source, at)?.filter(|data| data.start < range.end) {
            let start = data.start.max(at) / size * size;
            at = (start + size).min(range.end);
            memory.resize((at - start) as usize, 0);
            let buffers = [GuestSlice::from(memory.as_mut_slice())];
            source.read(&buffers, start)?;
            self.target.write(&buffers, start)?;
        }
        Ok(())
    }

    /// Flushes the target, and then writes the map.
    fn settle(&self) -> io::Result<()> {
        if self.is_complete() {
            return self.target.flush();
        }
        // Held to the end, because a concurrent flush that finds the map current relies on it being on stable storage.
        let mut map = lock(&self.map);
        // Read before the flush, which covers the blocks that are done by now.
        let done = (self.blocks.done_count() != map.recorded()).then(|| self.blocks.done());
        self.target.flush()?;
        if let Some(done) = done {
            map.record(&done)?;
        }
        if map.recorded() == self.blocks.count() {
            self.complete.store(true, Ordering::Release);
            *self.source.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(())
    }
}

fn check(source: &dyn BlockBackend, target: &dyn BlockBackend, block_size: u64) -> Result<()> {
    let wrong = |what: String, remedy: &str| Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy(remedy));
    let (from, to) = (source.capacity(), target.capacity());
    if from != to {
        let what = format!("the target of a disk has {to} bytes, its source {from}");
        return wrong(what, "create the target as large as the source");
    }
    if target.read_only() {
        return wrong("the target of a disk cannot be written".into(), "open it for writing");
    }
    if !block_size.is_power_of_two() || !BLOCK_SIZES.contains(&block_size) {
        let what = format!("a disk cannot be fetched in blocks of {block_size} bytes");
        return wrong(what, "use a power of two from 4 KiB to 64 MiB");
    }
    if blocks::count(to, block_size) > MAX_BLOCKS {
        let what = format!("a disk of {to} bytes has too many blocks of {block_size} bytes");
        return wrong(what, "use larger blocks");
    }
    Ok(())
}
