//! A qcow2 image as a disk.

use std::fmt;
use std::io;
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use imago::format::PreallocateMode;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, Mapping, ShallowMapping};

use super::metadata::Metadata;
use super::storage::ImageStorage;
use super::{check, limits, mark};
use crate::disk::backend::{BlockBackend, read_only};
use crate::disk::file::ImageFile;
use crate::disk::header::Header;
use crate::disk::layer::{Layer, LayerKind};
use crate::disk::place::{Flights, Place};
use crate::disk::raw::within;
use crate::disk::segments::{Segments, part, total};
use crate::memory::GuestSlice;
use crate::thread::caught;
use crate::{Error, ErrorKind, Result};

const SECTOR: u64 = 512;

type Image = FormatAccess<ImageStorage>;

/// A qcow2 image with its backing chain.
pub(super) struct Qcow2Disk {
    /// Locked for writing to change where data lies, and for reading otherwise.
    image: Arc<RwLock<Image>>,
    file: Arc<ImageFile>,
    /// Changed only with the image locked for writing.
    capacity: AtomicU64,
    cluster_size: u64,
    /// The size of the backing disk in bytes; it shows where the image has no data.
    below: u64,
    /// The location of the metadata, known only if the image may be written.
    metadata: Option<Arc<Metadata>>,
    /// Whether the file is marked as dirty. Changed only with the image locked for writing.
    marked: AtomicBool,
    /// Whether clusters were freed to which tables in the file may still point. Changed as above.
    freed: AtomicBool,
    /// Whether the library may hold table changes in memory. Changed as above.
    unwritten: AtomicBool,
    /// Requests that use clusters without a lock. They are added with the image locked for reading.
    flights: Arc<Flights>,
}

impl Qcow2Disk {
    /// Combines an image with the layers below it, the deepest last.
    pub(super) fn new(file: Arc<ImageFile>, header: &Header, below: Vec<Layer>, read_only: bool) -> Result<Self> {
        let metadata = if read_only { None } else { Some(Metadata::new(&check::check(&file, header)?, header)) };
        Self::with(file, header, below, metadata.map(Arc::new))
    }

    /// Like [`new`](Self::new), but for writing if `metadata` is given.
    pub(super) fn with(
        file: Arc<ImageFile>,
        header: &Header,
        below: Vec<Layer>,
        metadata: Option<Arc<Metadata>>,
    ) -> Result<Self> {
        limits::memory(&file, header, &below)?;
        let mut backing = None;
        for layer in below.into_iter().rev() {
            backing = Some(match &layer.kind {
                LayerKind::Raw => open_raw(layer.file)?,
                LayerKind::Qcow2(header) => open_qcow2(layer.file, header, backing, None)?,
            });
        }
        let shown = backing.as_ref().map_or(0, |backing| backing.size());
        let image = open_qcow2(Arc::clone(&file), header, backing, metadata.clone())?;
        Ok(Self {
            // As in QEMU, the guest does not see a partial last sector.
            capacity: AtomicU64::new(image.size() / SECTOR * SECTOR),
            image: Arc::new(RwLock::new(image)),
            file,
            cluster_size: header.cluster_size,
            below: shown,
            metadata,
            marked: AtomicBool::new(false),
            freed: AtomicBool::new(false),
            unwritten: AtomicBool::new(false),
            flights: Arc::default(),
        })
    }

    /// Whether the image itself has data.
    pub(super) fn has_own_data(&self) -> io::Result<bool> {
        survey(&*self.together()?, 0..self.capacity(), |found| found != Found::Nothing)
    }

    /// The parts of a range that the image maps itself, in order.
    pub(super) fn own_data(&self, range: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        let image = self.together()?;
        let (mut own, mut at) = (Vec::<Range<u64>>::new(), range.start);
        let end = range.end.min(self.capacity());
        while at < end {
            let (mapping, length) = image.inner().get_mapping(at, end - at)?;
            if length == 0 {
                return Err(io::Error::other("the image cannot map this range"));
            }
            let backed =
                matches!(mapping, ShallowMapping::Indirect { .. } | ShallowMapping::Zero { explicit: false, .. });
            match own.last_mut().filter(|last| last.end == at) {
                _ if backed => {}
                Some(last) => last.end = at + length,
                None => own.push(at..at + length),
            }
            at += length;
        }
        Ok(own)
    }

    fn together(&self) -> io::Result<RwLockReadGuard<'_, Image>> {
        self.image.read().map_err(broken)
    }

    fn alone(&self) -> io::Result<RwLockWriteGuard<'_, Image>> {
        let image = self.image.write().map_err(broken)?;
        self.flights.wait();
        Ok(image)
    }

    /// Locks the image to change its tables.
    fn change(&self) -> io::Result<RwLockWriteGuard<'_, Image>> {
        let image = self.alone()?;
        self.unwritten.store(true, Ordering::Relaxed);
        if !self.marked.load(Ordering::Relaxed) {
            mark::set(&self.file, true)?;
            self.marked.store(true, Ordering::Relaxed);
        }
        if self.freed.load(Ordering::Relaxed) {
            // Otherwise a freed cluster could become a table while the old tables in the file still refer to it as
            // data.
            image.flush()?;
            self.file.sync()?;
            self.freed.store(false, Ordering::Relaxed);
        }
        Ok(image)
    }

    /// Writes everything and clears the dirty mark.
    pub(super) fn close(&self) -> io::Result<()> {
        let image = self.alone()?;
        if self.marked.load(Ordering::Relaxed) {
            image.flush()?;
            self.file.sync()?;
            mark::set(&self.file, false)?;
            self.marked.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn writable(&self, offset: u64, length: u64) -> io::Result<()> {
        if self.read_only() {
            return Err(read_only());
        }
        within(self.capacity(), offset, length)
    }
}

impl BlockBackend for Qcow2Disk {
    fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Acquire)
    }

    fn read_only(&self) -> bool {
        self.metadata.is_none()
    }

    fn block_size(&self) -> u32 {
        self.file.block_size()
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        // Empty buffers are dropped, because the library does not support them.
        let buffers = part(buffers, 0..u64::MAX);
        within(self.capacity(), offset, total(&buffers))?;
        let buffers: Vec<_> = buffers.iter().map(GuestSlice::volatile).collect();
        let (vector, _guard) = IoVectorMut::from_volatile_slice(&buffers);
        self.together()?.readv(vector, offset)
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let mut segments = Segments::of_guest(buffers);
        let length = segments.len();
        self.writable(offset, length)?;
        overwrite(&*self.together()?, &mut segments, offset)?;
        let done = length - segments.len();
        if segments.is_empty() {
            return Ok(());
        }
        let buffers: Vec<_> = part(buffers, done..length).iter().map(GuestSlice::volatile).collect();
        let (mut vector, _guard) = IoVector::from_volatile_slice(&buffers);
        for piece in self.by_table(offset + done..offset + length) {
            let (head, tail) = vector.split_at(piece.end - piece.start);
            vector = tail;
            let image = self.change()?;
            let frees = survey(&image, piece.clone(), |found| found == Found::Replaceable)?;
            self.freed.fetch_or(frees, Ordering::Relaxed);
            image.writev(head, piece.start)?;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        if self.read_only() {
            return Ok(());
        }
        // A write sets this before it completes, so the flush cannot miss a completed write.
        if self.unwritten.load(Ordering::Acquire) {
            let image = self.alone()?;
            image.flush()?;
            self.unwritten.store(false, Ordering::Release);
        }
        self.file.sync()
    }

    fn flush_to_close(&self) -> io::Result<()> {
        self.flush()?;
        if self.read_only() { Ok(()) } else { self.close() }
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.writable(offset, length)?;
        self.unmap(self.whole_clusters(offset..offset + length))
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.writable(offset, length)?;
        let range = offset..offset + length;
        if !unmap {
            return self.zero(range);
        }
        let whole = self.whole_clusters(range.clone());
        if whole.is_empty() {
            return self.zero(range);
        }
        self.zero(range.start..whole.start)?;
        self.zero(whole.end..range.end)?;
        self.unmap(whole)
    }

    fn place(&self, offset: u64, length: u64, write: bool) -> Option<Place> {
        // Threads that wait for the exclusive lock go first.
        let image = self.image.try_read().ok()?;
        let (storage, at, found) = if write {
            self.writable(offset, length).ok()?;
            let (mapping, found) = image.inner().get_mapping(offset, length).ok()?;
            let ShallowMapping::Raw { storage, offset, writable: true, .. } = mapping else { return None };
            (storage, offset, found)
        } else {
            let (mapping, found) = image.get_mapping(offset, length).ok()?;
            let Mapping::Raw { storage, offset, .. } = mapping else { return None };
            (storage, offset, found)
        };
        if found < length || write && storage.may_write_data(at, length).is_err() {
            return None;
        }
        Place::new(Arc::clone(storage.file()), at).counted(&self.flights)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let image = self.together()?;
        let mut at = offset;
        while at < self.capacity() {
            let (mapping, length) = image.get_mapping(at, self.capacity() - at)?;
            let extent = match mapping {
                Mapping::Zero { .. } => Extent::Zeroes(length),
                Mapping::Raw { storage, offset, .. } => extent(storage, offset, length)?,
                _ => Extent::Data(length),
            };
            match extent {
                Extent::Zeroes(0) => return Err(io::Error::other("the image cannot map this range")),
                Extent::Zeroes(length) => at += length,
                Extent::Data(length) => return Ok(Some(at..at + length)),
            }
        }
        Ok(None)
    }

    /// The new part must read as zeroes, even if the backing disk has data there.
    fn grow(&self, size: u64) -> io::Result<()> {
        let image = self.change()?;
        // Only where the backing disk would show through: it takes a table for each half gigabyte.
        image.resize_grow(size.min(self.below), PreallocateMode::Zero)?;
        image.resize_grow(size, PreallocateMode::None)?;
        image.flush()?;
        self.file.sync()?;
        self.capacity.store(size, Ordering::Release);
        Ok(())
    }
}

/// The kind of data at the start of a range, and its length.
enum Extent {
    Zeroes(u64),
    Data(u64),
}

/// The kind of data at the start of the `length` bytes at `offset` of a file, as far as its holes tell.
fn extent(storage: &ImageStorage, offset: u64, length: u64) -> io::Result<Extent> {
    let Some(data) = storage.file().next_data(offset)? else { return Ok(Extent::Zeroes(length)) };
    Ok(match data.start.saturating_sub(offset).min(length) {
        0 => Extent::Data((data.end - offset).min(length)),
        zeroes => Extent::Zeroes(zeroes),
    })
}

/// The contents of a part of the image, with regard to freeing clusters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Unallocated.
    Nothing,
    /// Clusters that only the active image uses, at this offset of the file.
    Own { at: u64, length: u64 },
    /// Zeroes, for which clusters may be allocated.
    Zeroes,
    /// Data that a write replaces with new clusters: compressed, or shared with a snapshot.
    Replaceable,
}

impl Qcow2Disk {
    /// Zeroes a range and keeps its space.
    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        for piece in self.by_table(range) {
            let image = self.change()?;
            let frees = survey(&image, piece.clone(), |found| found == Found::Replaceable)?;
            self.freed.fetch_or(frees, Ordering::Relaxed);
            image.write_zeroes(piece.start, piece.end - piece.start)?;
        }
        Ok(())
    }

    /// Zeroes whole clusters and releases their space to the host.
    fn unmap(&self, range: Range<u64>) -> io::Result<()> {
        for piece in self.by_table(range) {
            let image = self.change()?;
            let mut own = Vec::new();
            let frees = survey(&image, piece.clone(), |found| {
                if let Found::Own { at, length } = found {
                    own.push((at, length.next_multiple_of(self.cluster_size)));
                }
                found != Found::Nothing
            })?;
            if !frees && self.below <= piece.start {
                continue;
            }
            if let Some(metadata) = &self.metadata {
                own.iter().try_for_each(|(at, length)| metadata.refuse_data(*at, *length))?;
            }
            self.freed.fetch_or(frees, Ordering::Relaxed);
            let length = piece.end - piece.start;
            // SAFETY: no one else uses the image now, so there are no mappings that this could invalidate.
            unsafe { image.discard_to_zero_unsafe(piece.start, length) }?;
            own.into_iter().try_for_each(|(at, length)| self.file.punch(at, length).map(|_| ()))?;
        }
        Ok(())
    }

    /// The whole clusters inside a range; the last one of the disk may be partial.
    fn whole_clusters(&self, range: Range<u64>) -> Range<u64> {
        let end =
            if range.end == self.capacity() { range.end } else { range.end / self.cluster_size * self.cluster_size };
        let start = range.start.next_multiple_of(self.cluster_size);
        start.min(end)..end
    }

    /// Splits a range into pieces that need a single L2 table each.
    ///
    /// The library may allocate a table at the start of a request. A later table of the same request could get a
    /// cluster that the request itself has freed, before [`change`](Self::change) allows that.
    fn by_table(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
        let covered = self.cluster_size * (self.cluster_size / 8);
        let mut start = range.start;
        std::iter::from_fn(move || {
            let end = (start + 1).next_multiple_of(covered).min(range.end);
            let piece = start..end;
            start = end;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// Calls `look` with the contents of a range; returns whether it returned `true` for any part.
fn survey(image: &Image, range: Range<u64>, mut look: impl FnMut(Found) -> bool) -> io::Result<bool> {
    let mut any = false;
    let mut at = range.start;
    while at < range.end {
        let (mapping, length) = image.inner().get_mapping(at, range.end - at)?;
        if length == 0 {
            break;
        }
        any |= look(match mapping {
            ShallowMapping::Raw { offset, writable: true, .. } => Found::Own { at: offset, length },
            ShallowMapping::Raw { .. } | ShallowMapping::Special { .. } => Found::Replaceable,
            ShallowMapping::Zero { explicit: true, .. } => Found::Zeroes,
            _ => Found::Nothing,
        });
        at += length;
    }
    Ok(any)
}

/// Writes as much of the start as lies in allocated clusters that only this image uses.
fn overwrite(image: &Image, segments: &mut Segments<'_>, mut offset: u64) -> io::Result<()> {
    while !segments.is_empty() {
        let (mapping, length) = image.inner().get_mapping(offset, segments.len())?;
        let ShallowMapping::Raw { storage, offset: at, writable: true, .. } = mapping else { break };
        storage.write_data(&mut segments.take(length), at)?;
        offset += length;
    }
    Ok(())
}

fn open_raw(file: Arc<ImageFile>) -> Result<Image> {
    let storage = ImageStorage::new(Arc::clone(&file), SECTOR);
    let opened = Raw::builder(storage).open(DenyImplicitOpenGate::default());
    opened.map(FormatAccess::new).map_err(|error| explain(&file, error))
}

/// `metadata` makes it writable.
fn open_qcow2(
    file: Arc<ImageFile>,
    header: &Header,
    backing: Option<Image>,
    metadata: Option<Arc<Metadata>>,
) -> Result<Image> {
    let size = header.cluster_size;
    let builder = match metadata {
        None => Qcow2::builder(ImageStorage::new(Arc::clone(&file), size)).write(false).data_file(None),
        Some(metadata) => {
            // The data is in the same file, but an external data file keeps the two kinds of writes apart.
            let data = ImageStorage::of_data(Arc::clone(&file), size, Arc::clone(&metadata));
            Qcow2::builder(ImageStorage::of_metadata(Arc::clone(&file), size, metadata))
                .write(true)
                .data_file(Some(data))
        }
    };
    let opened = builder.backing(backing).open(DenyImplicitOpenGate::default());
    opened.map(FormatAccess::new).map_err(|error| explain(&file, error))
}

fn explain(file: &ImageFile, error: io::Error) -> Error {
    let path = file.path().display();
    let what = format!("cannot open disk image {path}");
    if error.raw_os_error().is_some() {
        return Error::io(what, error);
    }
    Error::new(ErrorKind::CorruptImage, what)
        .because(error)
        .with_remedy(format!("repair it with qemu-img check -r all {path}, or restore a copy"))
}

fn broken<T>(_: PoisonError<T>) -> io::Error {
    io::Error::other("an earlier failure left the image in an unknown state")
}

impl Drop for Qcow2Disk {
    fn drop(&mut self) {
        if !self.file.is_ours() {
            // The library writes pending changes when its image is dropped, so the image must never be dropped.
            mem::forget(Arc::clone(&self.image));
            return;
        }
        if let Err(error) = self.close() {
            let path = self.file.path().display();
            // This may be dropped during a panic, and the log subscriber may panic as well.
            let _ = caught(|| {
                tracing::error!(
                    "cannot close disk image {path} properly; it will be repaired when it is opened: {error}"
                );
            });
        }
    }
}

impl fmt::Debug for Qcow2Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qcow2Disk").field("file", &self.file).field("read_only", &self.read_only()).finish()
    }
}
