//! A qcow2 image as a disk.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use imago::io_buffers::{IoVector, IoVectorMut};
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, ShallowMapping};
use vm_memory::VolatileSlice;

use super::storage::ImageStorage;
use crate::disk::backend::BlockBackend;
use crate::disk::chain::{Layer, LayerKind};
use crate::disk::file::ImageFile;
use crate::disk::header::Header;
use crate::disk::raw::within;
use crate::disk::segments::Segments;
use crate::{Error, ErrorKind, Result};

const SECTOR: u64 = 512;

type Image = FormatAccess<ImageStorage>;

/// A qcow2 image, with what it is based on.
pub(in crate::disk) struct Qcow2Disk {
    /// Locked for writing by whoever changes where data lies, for reading by everybody else.
    image: RwLock<Image>,
    file: Arc<ImageFile>,
    capacity: u64,
    cluster_size: u64,
    read_only: bool,
}

impl Qcow2Disk {
    /// Puts an image together with the layers below it, of which the deepest is the last.
    pub(in crate::disk) fn new(
        file: Arc<ImageFile>,
        header: &Header,
        below: Vec<Layer>,
        read_only: bool,
    ) -> Result<Self> {
        let mut backing = None;
        for layer in below.into_iter().rev() {
            backing = Some(match &layer.kind {
                LayerKind::Raw => open_raw(layer.file)?,
                LayerKind::Qcow2(header) => open_qcow2(layer.file, header, backing, false)?,
            });
        }
        let image = open_qcow2(Arc::clone(&file), header, backing, !read_only)?;
        Ok(Self {
            // As QEMU does: a last piece of a sector does not exist for the guest.
            capacity: image.size() / SECTOR * SECTOR,
            image: RwLock::new(image),
            file,
            cluster_size: header.cluster_size,
            read_only,
        })
    }

    fn together(&self) -> io::Result<RwLockReadGuard<'_, Image>> {
        self.image.read().map_err(broken)
    }

    fn alone(&self) -> io::Result<RwLockWriteGuard<'_, Image>> {
        self.image.write().map_err(broken)
    }

    fn writable(&self, offset: u64, length: u64) -> io::Result<()> {
        if self.read_only {
            return Err(io::Error::from_raw_os_error(libc::EROFS));
        }
        within(self.capacity, offset, length)
    }
}

impl BlockBackend for Qcow2Disk {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&self, buffers: &[VolatileSlice<'_>], offset: u64) -> io::Result<()> {
        let buffers = skip(buffers, 0);
        within(self.capacity, offset, total(&buffers))?;
        let (vector, _guard) = IoVectorMut::from_volatile_slice(&buffers);
        self.together()?.readv(vector, offset)
    }

    fn write(&self, buffers: &[VolatileSlice<'_>], offset: u64) -> io::Result<()> {
        let mut segments = Segments::of_guest(buffers);
        let length = segments.len();
        self.writable(offset, length)?;
        overwrite(&*self.together()?, &mut segments, offset)?;
        let done = length - segments.len();
        if segments.is_empty() {
            return Ok(());
        }
        let buffers = skip(buffers, done);
        let (vector, _guard) = IoVector::from_volatile_slice(&buffers);
        self.alone()?.writev(vector, offset + done)
    }

    fn flush(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.alone()?.flush()?;
        self.file.sync()
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.writable(offset, length)?;
        let image = self.alone()?;
        let clusters = self.own_clusters(&image, offset, length)?;
        // SAFETY: nobody else uses the image now, so there are no mappings that this could invalidate.
        unsafe { image.discard_to_any_unsafe(offset, length) }?;
        self.give_back(clusters)
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.writable(offset, length)?;
        let image = self.alone()?;
        if !unmap {
            return image.write_zeroes(offset, length);
        }
        let clusters = self.own_clusters(&image, offset, length)?;
        // SAFETY: as in `discard`.
        unsafe { image.discard_to_zero_unsafe(offset, length) }?;
        self.give_back(clusters)
    }
}

impl Qcow2Disk {
    /// Where in the file the whole clusters of a range lie that no snapshot needs.
    fn own_clusters(&self, image: &Image, offset: u64, length: u64) -> io::Result<Vec<(u64, u64)>> {
        let end = match offset + length {
            end if end == self.capacity => end,
            end => end / self.cluster_size * self.cluster_size,
        };
        let mut at = offset.next_multiple_of(self.cluster_size);
        let mut clusters = Vec::new();
        while at < end {
            let (mapping, length) = image.inner().get_mapping(at, end - at)?;
            if let ShallowMapping::Raw { offset, writable: true, .. } = mapping {
                clusters.push((offset, length.next_multiple_of(self.cluster_size)));
            }
            at += length;
        }
        Ok(clusters)
    }

    /// Gives clusters that the image has freed back to the host.
    fn give_back(&self, clusters: Vec<(u64, u64)>) -> io::Result<()> {
        clusters.into_iter().try_for_each(|(offset, length)| self.file.punch(offset, length).map(|_| ()))
    }
}

/// Writes as much of the beginning as lies in clusters that are there and belong to this image alone.
fn overwrite(image: &Image, segments: &mut Segments<'_>, mut offset: u64) -> io::Result<()> {
    while !segments.is_empty() {
        let (mapping, length) = image.inner().get_mapping(offset, segments.len())?;
        let ShallowMapping::Raw { storage, offset: at, writable: true, .. } = mapping else { break };
        storage.file().write(&mut segments.take(length), at)?;
        offset += length;
    }
    Ok(())
}

fn open_raw(file: Arc<ImageFile>) -> Result<Image> {
    let storage = ImageStorage::new(Arc::clone(&file), SECTOR);
    let opened = Raw::builder(storage).open(DenyImplicitOpenGate::default());
    opened.map(FormatAccess::new).map_err(|error| explain(&file, error))
}

fn open_qcow2(file: Arc<ImageFile>, header: &Header, backing: Option<Image>, write: bool) -> Result<Image> {
    let storage = ImageStorage::new(Arc::clone(&file), header.cluster_size);
    let builder = Qcow2::builder(storage).write(write).backing(backing).data_file(None);
    let opened = builder.open(DenyImplicitOpenGate::default());
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
        .remedy(format!("repair it with qemu-img check -r all {path}, or restore a copy"))
}

/// The buffers without their first `bytes` bytes, and without empty ones, which the library does not expect.
fn skip<'a>(buffers: &[VolatileSlice<'a>], bytes: u64) -> Vec<VolatileSlice<'a>> {
    let mut bytes = bytes;
    let rest = |buffer: &VolatileSlice<'a>| {
        let skipped = bytes.min(buffer.len() as u64);
        bytes -= skipped;
        buffer.offset(skipped as usize).ok().filter(|rest| !rest.is_empty())
    };
    buffers.iter().filter_map(rest).collect()
}

fn total(buffers: &[VolatileSlice<'_>]) -> u64 {
    buffers.iter().map(|buffer| buffer.len() as u64).sum()
}

fn broken<T>(_: PoisonError<T>) -> io::Error {
    io::Error::other("an earlier failure left the image in an unknown state")
}

impl fmt::Debug for Qcow2Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qcow2Disk").field("file", &self.file).field("read_only", &self.read_only).finish()
    }
}
