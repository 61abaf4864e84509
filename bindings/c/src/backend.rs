//! Disk images, and disks that the program implements.

use std::ffi::{c_int, c_void};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;
use std::sync::Arc;

use xvirt_core::disk::{BlockBackend, GuestSlice};
use xvirt_core::{Error, ErrorKind};

use crate::call::entry;
use crate::error::{XvirtError, XvirtStatus};
use crate::handle::{free, given, put_handle};
use crate::input::{At, Plain, argument, bytes, code, invalid, sized};
use crate::output::{flag, out};

/// An open disk image, or a disk that the program implements.
///
/// Several threads may use it at once. Free it with xvirt_block_backend_free() when no call uses it any more. A VM that
/// got it keeps it open.
pub struct XvirtBlockBackend(pub Arc<dyn BlockBackend>);

/// What a disk does that the program implements.
///
/// The functions are called on threads of the VM's device, several at once. They return 0, or the number of an error as
/// in errno(3), which the guest gets as an I/O error. They get `user_data`, an offset in bytes, and a buffer that may be
/// memory of the guest: the guest may change it at any time, and it is gone when the function has returned. They must not
/// call functions of this library for the VM that has the disk.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtDiskOperations {
    /// The size of this struct, which the caller sets.
    pub struct_size: usize,
    /// The size of the disk in bytes, a multiple of 512. Required.
    pub capacity: u64,
    /// The physical block size in bytes, a power of two; 512 if it is 0.
    pub block_size: u32,
    /// Whether writes are refused.
    pub read_only: MaybeUninit<bool>,
    /// Fills a buffer. Required.
    pub read: Option<extern "C" fn(user_data: *mut c_void, buffer: *mut u8, length: usize, offset: u64) -> c_int>,
    /// Writes a buffer. Required, unless the disk is read-only.
    pub write: Option<extern "C" fn(user_data: *mut c_void, buffer: *const u8, length: usize, offset: u64) -> c_int>,
    /// Returns when everything written before is on stable storage. NULL if it always is.
    pub flush: Option<extern "C" fn(user_data: *mut c_void) -> c_int>,
    /// Discards a range, which then reads as its old contents or as zeroes. NULL if that changes nothing.
    pub discard: Option<extern "C" fn(user_data: *mut c_void, offset: u64, length: u64) -> c_int>,
    /// Zeroes a range; with `unmap`, its space may be released. NULL if `write` is to write zeroes.
    pub write_zeroes: Option<extern "C" fn(user_data: *mut c_void, offset: u64, length: u64, unmap: bool) -> c_int>,
    /// Called once, when nothing uses the disk any more, on any thread. It may be NULL.
    pub release: Option<extern "C" fn(user_data: *mut c_void)>,
    /// What the functions get.
    pub user_data: *mut c_void,
}

// SAFETY: numbers, and pointers to functions that are what the caller says.
unsafe impl Plain for XvirtDiskOperations {}

/// How much is zeroed by one write, if the program has no function for zeroes.
const ZEROES: usize = 64 << 10;

struct ProgramDisk(XvirtDiskOperations);

// SAFETY: the program promises that its functions may be called on several threads at once with its data.
unsafe impl Send for ProgramDisk {}
// SAFETY: as above.
unsafe impl Sync for ProgramDisk {}

impl fmt::Debug for ProgramDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a disk of the program with {} bytes", self.0.capacity)
    }
}

/// The result of a function of the program.
fn done(number: c_int) -> io::Result<()> {
    match number {
        0 => Ok(()),
        1.. => Err(io::Error::from_raw_os_error(number)),
        _ => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}

fn read_only() -> io::Error {
    io::Error::from_raw_os_error(libc::EROFS)
}

/// Calls `each` for the buffers with their places on the disk.
fn in_order(
    buffers: &[GuestSlice<'_>],
    mut offset: u64,
    mut each: impl FnMut(&GuestSlice<'_>, u64) -> c_int,
) -> io::Result<()> {
    for buffer in buffers.iter().filter(|buffer| !buffer.is_empty()) {
        done(each(buffer, offset))?;
        offset += buffer.len() as u64;
    }
    Ok(())
}

impl BlockBackend for ProgramDisk {
    fn capacity(&self) -> u64 {
        self.0.capacity
    }

    fn read_only(&self) -> bool {
        code(self.0.read_only) != 0
    }

    fn block_size(&self) -> u32 {
        self.0.block_size
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let read = self.0.read.ok_or(io::ErrorKind::Unsupported)?;
        in_order(buffers, offset, |buffer, offset| read(self.0.user_data, buffer.as_mut_ptr(), buffer.len(), offset))
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let write = self.0.write.filter(|_| !self.read_only()).ok_or_else(read_only)?;
        in_order(buffers, offset, |buffer, offset| write(self.0.user_data, buffer.as_mut_ptr(), buffer.len(), offset))
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush.map_or(Ok(()), |flush| done(flush(self.0.user_data)))
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.0.discard.map_or(Ok(()), |discard| done(discard(self.0.user_data, offset, length)))
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        if let Some(write_zeroes) = self.0.write_zeroes {
            return done(write_zeroes(self.0.user_data, offset, length, unmap));
        }
        let write = self.0.write.filter(|_| !self.read_only()).ok_or_else(read_only)?;
        let zeroes = vec![0_u8; ZEROES];
        let mut at = 0;
        while at < length {
            let part = zeroes.len().min(usize::try_from(length - at).unwrap_or(usize::MAX));
            done(write(self.0.user_data, zeroes.as_ptr(), part, offset + at))?;
            at += part as u64;
        }
        Ok(())
    }
}

impl Drop for ProgramDisk {
    fn drop(&mut self) {
        if let Some(release) = self.0.release {
            release(self.0.user_data);
        }
    }
}

/// Makes a disk that the program implements. If the call succeeds, `release` is called once in the end.
///
/// Free `block_backend` with xvirt_block_backend_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_block_backend_new(
    operations: *const XvirtDiskOperations,
    block_backend: Option<&mut *mut XvirtBlockBackend>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let block_backend = out(block_backend, ptr::null_mut(), "block_backend")?;
        // SAFETY: the caller passes NULL or what the header asks for.
        let mut operations = argument(unsafe { sized(operations, &At::root("operations")) }?, "operations")?;
        argument(operations.read, "operations.read")?;
        if operations.write.is_none() && code(operations.read_only) == 0 {
            return Err(invalid("operations.write is NULL").with_remedy("set it, or set read_only"));
        }
        if operations.capacity == 0 || !operations.capacity.is_multiple_of(512) {
            return Err(invalid(format!(
                "operations.capacity is {}, but must be a multiple of 512",
                operations.capacity
            )));
        }
        operations.block_size = if operations.block_size == 0 { 512 } else { operations.block_size };
        if !operations.block_size.is_power_of_two() || operations.block_size < 512 {
            return Err(invalid(format!(
                "operations.block_size is {}, but must be a power of two",
                operations.block_size
            )));
        }
        put_handle(block_backend, XvirtBlockBackend(Arc::new(ProgramDisk(operations))));
        Ok(())
    })
}

/// `capacity` gets the size of the disk in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_block_backend_capacity(
    block_backend: Option<&XvirtBlockBackend>,
    capacity: Option<&mut u64>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let capacity = out(capacity, 0, "capacity")?;
        *capacity = given(block_backend, "block_backend")?.0.capacity();
        Ok(())
    })
}

/// `read_only` gets whether writes are refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_block_backend_read_only(
    block_backend: Option<&XvirtBlockBackend>,
    read_only: Option<&mut MaybeUninit<bool>>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let read_only = out(read_only, flag(false), "read_only")?;
        *read_only = flag(given(block_backend, "block_backend")?.0.read_only());
        Ok(())
    })
}

/// `block_size` gets the physical block size in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_block_backend_block_size(
    block_backend: Option<&XvirtBlockBackend>,
    block_size: Option<&mut u32>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let block_size = out(block_size, 0, "block_size")?;
        *block_size = given(block_backend, "block_backend")?.0.block_size();
        Ok(())
    })
}

/// Reads from a disk image.
///
/// Errors: XVIRT_STATUS_INVALID_CONFIG if the range exceeds the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_block_backend_read(
    block_backend: Option<&XvirtBlockBackend>,
    buffer: *mut u8,
    length: usize,
    offset: u64,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let backend = given(block_backend, "block_backend")?;
        within(&*backend.0, offset, length)?;
        if buffer.is_null() || isize::try_from(length).is_err() {
            return Err(invalid("buffer is NULL"));
        }
        // SAFETY: the caller passes a buffer of this length. Some of it may not be initialized yet, so all is, once.
        let buffer = unsafe {
            buffer.write_bytes(0, length);
            slice::from_raw_parts_mut(buffer, length)
        };
        backend.0.read(&[GuestSlice::from(buffer)], offset).map_err(|error| Error::io("cannot read the disk", error))
    })
}

/// Writes to a disk image that no VM uses.
///
/// Errors: XVIRT_STATUS_INVALID_CONFIG if the range exceeds the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_block_backend_write(
    block_backend: Option<&XvirtBlockBackend>,
    buffer: *const u8,
    length: usize,
    offset: u64,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let backend = given(block_backend, "block_backend")?;
        within(&*backend.0, offset, length)?;
        // SAFETY: the caller passes NULL or a buffer of this length. It is copied, since it may be constant.
        let mut copy = argument(unsafe { bytes(buffer, length, &At::root("buffer")) }?, "buffer")?;
        let written = backend.0.write(&[GuestSlice::from(copy.as_mut_slice())], offset);
        written.map_err(|error| Error::io("cannot write the disk", error))
    })
}

/// Returns when everything written before is on stable storage.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_block_backend_flush(
    block_backend: Option<&XvirtBlockBackend>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let backend = given(block_backend, "block_backend")?;
        backend.0.flush().map_err(|error| Error::io("cannot flush the disk", error))
    })
}

/// Checks that a range is inside of the disk.
fn within(backend: &dyn BlockBackend, offset: u64, length: usize) -> xvirt_core::Result<()> {
    match offset.checked_add(length as u64) {
        Some(end) if end <= backend.capacity() => Ok(()),
        _ => {
            let what = format!("{length} bytes from offset {offset} exceed the disk of {} bytes", backend.capacity());
            Err(Error::new(ErrorKind::InvalidConfig, what))
        }
    }
}

/// Frees it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_block_backend_free(block_backend: Option<Box<XvirtBlockBackend>>) {
    free(block_backend);
}
