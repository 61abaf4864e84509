//! Reads a kernel or an initial RAM disk from a path, from memory or from a descriptor.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::FileType;
use vm_memory::bitmap::BitmapSlice;
use vm_memory::{ReadVolatile, VolatileMemoryError, VolatileSlice};

use crate::config::BootFile;
use crate::descriptor::Use;
use crate::disk::read_slice;
use crate::memory::GuestSlice;
use crate::named_file::open_file;
use crate::{Error, Result};

/// A kernel or an initial RAM disk that can be read.
pub(super) struct Opened {
    source: Source,
    pub(super) length: u64,
    /// Its own offset: that of a descriptor is shared with its duplicates, which may be read at the same time.
    offset: u64,
}

enum Source {
    File(File),
    Bytes(Arc<[u8]>),
}

impl Opened {
    /// Opens `file`; `what` names it in messages.
    pub(super) fn new(file: &BootFile, what: &str) -> Result<Self> {
        let source = match file {
            BootFile::Path(path) => Source::File(open_file(path, what)?),
            BootFile::Bytes(bytes) => Source::Bytes(Arc::clone(bytes)),
            BootFile::Descriptor(descriptor) => {
                Source::File(descriptor.file(what, &[FileType::RegularFile], Use::Read)?)
            }
        };
        let length = match &source {
            Source::File(opened) => {
                let cannot = |error| Error::io(format!("cannot read the {what} {file:?}"), error);
                opened.metadata().map_err(cannot)?.len()
            }
            Source::Bytes(bytes) => bytes.len() as u64,
        };
        Ok(Self { source, length, offset: 0 })
    }

    /// What comes after the offset.
    fn rest<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        usize::try_from(self.offset).ok().and_then(|start| bytes.get(start..)).unwrap_or_default()
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &self.source {
            Source::File(file) => file.read_at(buffer, self.offset)?,
            Source::Bytes(bytes) => self.rest(bytes).read(buffer)?,
        };
        self.offset += count as u64;
        Ok(count)
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.offset.checked_add_signed(by),
        };
        self.offset = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.offset)
    }
}

impl ReadVolatile for Opened {
    fn read_volatile<B: BitmapSlice>(
        &mut self,
        slice: &mut VolatileSlice<'_, B>,
    ) -> std::result::Result<usize, VolatileMemoryError> {
        let count = match &self.source {
            Source::File(file) => {
                // SAFETY: `slice` is these bytes of a mapping, to which there is no reference.
                let memory = unsafe { GuestSlice::new(slice.ptr_guard_mut().as_ptr(), slice.len()) };
                let count = read_slice(file, memory, self.offset);
                // An error may follow bytes that were read.
                slice.bitmap().mark_dirty(0, slice.len());
                count.map_err(VolatileMemoryError::IOError)?
            }
            Source::Bytes(bytes) => self.rest(bytes).read_volatile(slice)?,
        };
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use vm_memory::bitmap::Bitmap;
    use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

    use super::*;
    use crate::ErrorKind;
    use crate::memory::GuestRam;

    fn whole(file: &BootFile) -> Vec<u8> {
        let mut bytes = Vec::new();
        Opened::new(file, "kernel").unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_descriptor_is_read_from_its_beginning_and_keeps_its_offset() {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), "a kernel").unwrap();
        let mut file = path.reopen().unwrap();
        file.seek(SeekFrom::Start(3)).unwrap();
        let given = BootFile::from(file.try_clone().unwrap());
        for source in [&given, &given, &BootFile::from(path.path()), &BootFile::from(b"a kernel".as_slice())] {
            assert_eq!(whole(source), b"a kernel");
        }
        assert_eq!(file.stream_position().unwrap(), 3);
    }

    #[test]
    fn a_large_file_is_read_into_guest_memory_at_once() {
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|number| (number / 7) as u8).collect();
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), &bytes).unwrap();
        for source in [BootFile::from(bytes.as_slice()), BootFile::from(path.path())] {
            // From an offset, and with more room than there are bytes.
            let mut memory = vec![0; bytes.len()];
            let mut opened = Opened::new(&source, "kernel").unwrap();
            opened.seek(SeekFrom::Start(3)).unwrap();
            assert_eq!(opened.read_volatile(&mut VolatileSlice::from(&mut memory[..])).unwrap(), bytes.len() - 3);
            assert!(memory[..bytes.len() - 3] == bytes[3..] && memory[bytes.len() - 3..] == [0; 3]);
            assert_eq!(opened.read_volatile(&mut VolatileSlice::from(&mut memory[..])).unwrap(), 0);
        }
    }

    #[test]
    fn what_is_read_into_guest_memory_is_dirty() {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), [7; 4097]).unwrap();
        let memory = GuestRam::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
        let mut opened = Opened::new(&BootFile::from(path.path()), "kernel").unwrap();
        memory.read_exact_volatile_from(GuestAddress(0x1000), &mut opened, 4097).unwrap();
        let dirty =
            memory.iter().next().map(|region| [0, 0x1000, 0x2000, 0x3000].map(|at| region.bitmap().dirty_at(at)));
        assert_eq!(dirty, Some([false, true, true, false]));
    }

    #[test]
    fn a_seek_goes_where_it_is_told() {
        let mut opened = Opened::new(&BootFile::from(b"0123456789".as_slice()), "kernel").unwrap();
        let mut next = |to| {
            opened.seek(to).map(|_| {
                let mut byte = [0];
                let count = opened.read(&mut byte).unwrap();
                (count == 1).then_some(byte[0])
            })
        };
        assert_eq!(next(SeekFrom::Start(4)).unwrap(), Some(b'4'));
        assert_eq!(next(SeekFrom::Current(-2)).unwrap(), Some(b'3'));
        assert_eq!(next(SeekFrom::End(-1)).unwrap(), Some(b'9'));
        assert_eq!(next(SeekFrom::Start(u64::MAX)).unwrap(), None);
        assert_eq!(next(SeekFrom::End(-11)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let (pipe, _writer) = io::pipe().unwrap();
        for descriptor in [OwnedFd::from(File::open("/").unwrap()), OwnedFd::from(pipe)] {
            let error = Opened::new(&descriptor.into(), "kernel").map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().ends_with("; give a descriptor of a regular file"), "{error}");
        }
    }
}
