//! A disk that is usable at once although its bytes are still elsewhere: in an archive, or on another host.
//!
//! A [`StreamingDisk`] reads a block from its slow source when somebody needs it for the first time, writes it to the target
//! image and never asks for it again; in the background the rest follows. `map` is the small file that remembers which
//! blocks are in the target already, `requests` is what the guest sees, `complete` is the background.
//!
//! What makes it safe against a kill or a power failure at any moment: the map is only written after the target was
//! flushed, and before the guest is told that its own flush is done. A block that the map does not know is fetched
//! again, over whatever an unflushed write left there; nothing was promised about that.

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

/// Sizes of a block that make sense, in bytes: it is fetched as a whole, and kept in memory meanwhile.
const BLOCK_SIZES: Range<u64> = 4 << 10..(64 << 20) + 1;
/// The map is written as a whole, and this many blocks take 16 MiB of it.
const MAX_BLOCKS: u64 = 1 << 27;

/// A disk whose bytes come from a slow source when they are needed, and stay in a target image.
///
/// May be used from several threads. While a block is being fetched, requests that need it wait, and no others. An error
/// of the source fails the request that needed it; the next one tries again.
#[derive(Debug)]
pub struct StreamingDisk {
    target: Arc<dyn BlockBackend>,
    /// Nothing once all is in the target.
    source: RwLock<Option<Arc<dyn BlockBackend>>>,
    /// Where the source has data.
    extent: LastExtent,
    /// Done are those that are in the target.
    blocks: Blocks,
    map: Mutex<Map>,
    /// The map says on stable storage that all is in the target.
    complete: AtomicBool,
    guests: Guests,
}

impl StreamingDisk {
    /// A new disk that fetches from `source` in blocks of `block_size` bytes, and remembers in a new file `map` what it
    /// has fetched. When this returns, the map is on stable storage.
    ///
    /// `source` must never change. `target` is written through this disk only and reads as zeroes yet, as a new image
    /// does.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if there is a file `map`; [`InvalidConfig`](ErrorKind::InvalidConfig)
    /// if source and target differ in size, the target cannot be written, or the block size is no power of two from
    /// 4 KiB to 64 MiB or too small for so large a disk; or `map` cannot be written.
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

    /// A disk that was used before, with the `map` and the `target` it had then and the same `source`.
    ///
    /// # Errors
    /// [`CorruptImage`](ErrorKind::CorruptImage) if the map is damaged; [`UnsupportedImage`](ErrorKind::UnsupportedImage)
    /// if a newer version wrote it; [`NotFound`](ErrorKind::NotFound) if it is missing;
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if it belongs to a disk of another size.
    pub fn open(source: Arc<dyn BlockBackend>, target: Arc<dyn BlockBackend>, map: impl AsRef<Path>) -> Result<Self> {
        let (map, done) = Map::open(map.as_ref(), target.capacity())?;
        check(&*source, &*target, map.block_size())?;
        Ok(Self::new(source, target, map, done))
    }

    /// Whether all is in the target, on stable storage, so that neither source nor map is needed any more: the target
    /// can be opened by itself the next time.
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

    /// Where what is not in the target comes from; nothing if all is there.
    fn source(&self) -> Option<Arc<dyn BlockBackend>> {
        self.source.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Copies blocks that the caller has claimed. Zeroes are there already.
    fn fill(&self, range: Range<u64>) -> io::Result<()> {
        let gone = || io::Error::other("the source of the disk is gone");
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

    /// Puts the target on stable storage, and then the map that says what is in it.
    fn settle(&self) -> io::Result<()> {
        if self.is_complete() {
            return self.target.flush();
        }
        // Held to the end: who finds the map up to date relies on it.
        let mut map = lock(&self.map);
        // Taken before the flush, because what is done by now was written before it.
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
