//! Inputs with random access.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Bytes that several threads can read at any offset, such as a file or memory.
///
/// The bytes must not change while an archive is read.
pub trait ReadAt: Send + Sync {
    /// The number of bytes.
    ///
    /// # Errors
    /// The storage cannot report its size.
    fn size(&self) -> io::Result<u64>;

    /// Reads some bytes at `offset` into `buffer`, and returns how many; zero only at the end.
    ///
    /// # Errors
    /// The storage cannot be read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut rest = self.get(start..).unwrap_or_default();
        rest.read(buffer)
    }
}

/// An input that is read sequentially from an offset.
pub(crate) struct Cursor<'a> {
    input: &'a dyn ReadAt,
    offset: u64,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(input: &'a dyn ReadAt, offset: u64) -> Self {
        Self { input, offset }
    }
}

impl Read for Cursor<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read_at(into, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Reads exactly `buffer.len()` bytes from `offset`.
pub(crate) fn read_exact_at(input: &dyn ReadAt, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    Cursor::new(input, offset).read_exact(buffer)
}
