//! Vectored reads and writes at an offset of a file, until complete.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::segments::Segments;
use crate::memory::GuestSlice;

/// Reads until `into` is full or the file ends; missing bytes remain in `into`.
pub(super) fn read(file: &File, into: &mut Segments<'_>, mut offset: u64) -> io::Result<()> {
    while !into.is_empty() {
        let pieces = into.next();
        let position = position(offset)?;
        // SAFETY: the pieces describe memory that is writable while `into` lives.
        let count =
            check(unsafe { libc::preadv(file.as_raw_fd(), pieces.as_ptr(), pieces.len() as libc::c_int, position) });
        match count {
            Ok(0) => return Ok(()),
            Ok(count) => {
                into.advance(count);
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until `into` is full or the file ends, and returns how many bytes were read.
pub(crate) fn read_slice(file: &File, into: GuestSlice<'_>, offset: u64) -> io::Result<usize> {
    let mut left = Segments::of_guest(&[into]);
    read(file, &mut left, offset)?;
    Ok(into.len() - left.len() as usize)
}

/// Writes all of `from`.
pub(super) fn write(file: &File, from: &mut Segments<'_>, mut offset: u64) -> io::Result<()> {
    while !from.is_empty() {
        let pieces = from.next();
        let position = position(offset)?;
        // SAFETY: the pieces describe memory that is readable while `from` lives.
        let count =
            check(unsafe { libc::pwritev(file.as_raw_fd(), pieces.as_ptr(), pieces.len() as libc::c_int, position) });
        match count {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                from.advance(count);
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Converts an offset for the kernel.
pub(super) fn position(offset: u64) -> io::Result<libc::off_t> {
    offset.try_into().map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))
}

/// Checks the result of a call that returns a count, or -1 on error.
pub(super) fn check(result: isize) -> io::Result<usize> {
    result.try_into().map_err(|_| io::Error::last_os_error())
}
