//! Reads a file on a disk as a stream, for example into guest memory.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use vm_memory::bitmap::BitmapSlice;
use vm_memory::{ReadVolatile, VolatileMemoryError, VolatileSlice};

use super::filesystem::OpenFile;
use super::volume::{DiskPath, Volumes, within};

/// The number of bytes read at once.
const PIECE: usize = 1 << 20;

/// A file on a disk, or a range of one. Its location is determined on the first read.
#[derive(Debug)]
pub(crate) struct BootFile<'m> {
    volumes: &'m Volumes<'m>,
    path: DiskPath,
    range: Range<u64>,
    opened: Option<Box<dyn OpenFile + 'm>>,
    position: u64,
    failure: Option<io::Error>,
}

impl<'m> BootFile<'m> {
    pub(super) fn new(volumes: &'m Volumes<'m>, path: DiskPath, range: Range<u64>) -> Self {
        Self { volumes, path, range, opened: None, position: 0, failure: None }
    }

    /// The length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    pub(super) fn path(&self) -> &DiskPath {
        &self.path
    }

    /// Why reading failed, if it did; the caller of `read` may not pass the reason on.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let opened = match &mut self.opened {
            Some(opened) => opened,
            closed => closed.insert(self.volumes.open_file(&self.path, self.range.clone())?),
        };
        opened.read(self.range.start + self.position, buffer)
    }
}

impl Read for BootFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length().saturating_sub(self.position);
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffer = buffer.get_mut(..count).unwrap_or_default();
        if count > 0
            && let Err(error) = self.fill(buffer)
        {
            let kind = error.kind();
            self.failure = Some(error);
            return Err(kind.into());
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for BootFile<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(offset) => (offset, 0),
            SeekFrom::End(offset) => (self.length(), offset),
            SeekFrom::Current(offset) => (self.position, offset),
        };
        self.position = base.checked_add_signed(offset).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl ReadVolatile for BootFile<'_> {
    fn read_volatile<B: BitmapSlice>(
        &mut self,
        buffer: &mut VolatileSlice<'_, B>,
    ) -> Result<usize, VolatileMemoryError> {
        read_volatile(self, buffer)
    }
}

/// Concatenated files, each aligned to four bytes with zeroes between. The kernel expects the next archive of an
/// initial RAM disk there, and GRUB places it there.
#[derive(Debug)]
pub(crate) struct Initrd<'m> {
    files: Vec<BootFile<'m>>,
    /// The index of the current file, and the zeroes before it.
    current: usize,
    padding: u64,
}

impl<'m> Initrd<'m> {
    pub(super) fn new(files: Vec<BootFile<'m>>) -> Self {
        Self { files, current: 0, padding: 0 }
    }

    /// The length in bytes.
    pub(crate) fn length(&self) -> u64 {
        let add = |length: u64, file: &BootFile<'_>| padded(length).saturating_add(file.length());
        self.files.iter().fold(0, add)
    }

    /// Checks that it is no longer than a limit; the error is for the first file that exceeds it.
    pub(super) fn check(&self, limit: u64) -> Result<(), (DiskPath, io::Error)> {
        let mut length = 0;
        for file in &self.files {
            let start = padded(length);
            within(file.length(), limit.saturating_sub(start)).map_err(|error| (file.path().clone(), error))?;
            length = start + file.length();
        }
        Ok(())
    }

    /// The file that could not be read, and why.
    pub(super) fn take_failure(&mut self) -> Option<(DiskPath, io::Error)> {
        self.files.iter_mut().find_map(|file| Some((file.path().clone(), file.take_failure()?)))
    }
}

impl Read for Initrd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(file) = self.files.get_mut(self.current) {
            let zeroes = buffer.len().min(self.padding as usize);
            if zeroes > 0 {
                buffer.get_mut(..zeroes).unwrap_or_default().fill(0);
                self.padding -= zeroes as u64;
                return Ok(zeroes);
            }
            let count = file.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.padding = padded(file.length()) - file.length();
            self.current += 1;
        }
        Ok(0)
    }
}

impl ReadVolatile for Initrd<'_> {
    fn read_volatile<B: BitmapSlice>(
        &mut self,
        buffer: &mut VolatileSlice<'_, B>,
    ) -> Result<usize, VolatileMemoryError> {
        read_volatile(self, buffer)
    }
}

/// The next multiple of four.
fn padded(length: u64) -> u64 {
    length.checked_next_multiple_of(4).unwrap_or(length)
}

/// Fills volatile memory through a private buffer, as far as there is data.
///
/// It fills all of `buffer`, because `vm-memory` treats a short read as the end of the file.
fn read_volatile<B: BitmapSlice>(
    reader: &mut impl Read,
    buffer: &mut VolatileSlice<'_, B>,
) -> Result<usize, VolatileMemoryError> {
    let mut piece = vec![0; PIECE.min(buffer.len())];
    let mut done = 0;
    while done < buffer.len() {
        let wanted = piece.len().min(buffer.len() - done);
        let count = reader.read(piece.get_mut(..wanted).unwrap_or_default()).map_err(VolatileMemoryError::IOError)?;
        if count == 0 {
            break;
        }
        buffer.offset(done)?.copy_from(piece.get(..count).unwrap_or_default());
        done += count;
    }
    Ok(done)
}
