//! Reading consoles.

use std::ffi::c_void;
use std::slice;

use xvirt_core::Result;

use crate::call::{Call, XvirtCall, entry};
use crate::error::{XvirtError, XvirtStatus};
use crate::functions::XvirtConsoleReader;
use crate::handle::given;
use crate::input::{argument, invalid};
use crate::output::out;

/// The caller's buffer.
///
/// # Safety
/// `buffer` is NULL or has `size` bytes.
unsafe fn buffer<'a>(buffer: *mut u8, size: usize) -> Result<&'a mut [u8]> {
    if buffer.is_null() || size == 0 || isize::try_from(size).is_err() {
        return Err(invalid("buffer is NULL, or its size is none"));
    }
    // SAFETY: some bytes of a buffer may not be initialized yet, so all are, once.
    unsafe {
        buffer.write_bytes(0, size);
        Ok(slice::from_raw_parts_mut(buffer, size))
    }
}

/// Waits for output, and reads what is there, at most `size` bytes. `count` gets their number; it is 0 at the end of the
/// console, after which there is never more. The bytes are those of the guest, with any values and without a NUL at
/// their end.
///
/// Fails with XVIRT_STATUS_TIMEOUT after `call.timeout_ns`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_console_reader_read(
    console_reader: Option<&XvirtConsoleReader>,
    buffer: *mut u8,
    size: usize,
    call: *const XvirtCall,
    count: Option<&mut usize>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let count = out(count, 0, "count")?;
        let reader = given(console_reader, "console_reader")?;
        // SAFETY: the caller passes NULL or what the header asks for.
        let (buffer, call) = unsafe { (self::buffer(buffer, size)?, Call::of(call)?) };
        *count = call.run(|_| reader.0.with(|reader| reader.read_timeout(buffer, call.timeout())))?;
        Ok(())
    })
}

/// How much output the caller's function gets at once, at most.
const PIECE: usize = 64 << 10;

/// Waits for output, and calls `output` with each piece of it, on this thread, until `output` returns false or the
/// console ends. The bytes are those of the guest, as for xvirt_console_reader_read(). `output` may use the reader.
///
/// Fails with XVIRT_STATUS_TIMEOUT after `call.timeout_ns`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_console_reader_follow(
    console_reader: Option<&XvirtConsoleReader>,
    output: Option<extern "C" fn(user_data: *mut c_void, bytes: *const u8, length: usize) -> bool>,
    user_data: *mut c_void,
    call: *const XvirtCall,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let (reader, output) = (given(console_reader, "console_reader")?, argument(output, "output")?);
        // SAFETY: the caller passes NULL or what the header asks for.
        let call = unsafe { Call::of(call) }?;
        let mut piece = vec![0; PIECE];
        call.run(|_| {
            loop {
                let count = reader.0.with(|reader| reader.read_timeout(&mut piece, call.timeout()))?;
                if count == 0 || !output(user_data, piece.as_ptr(), count) {
                    return Ok(());
                }
            }
        })
    })
}

/// Reads the output that is there, at most `size` bytes. `is_ready` gets whether there is any, or the end; `count` gets
/// the number of bytes, which is 0 at the end of the console.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_console_reader_try_read(
    console_reader: Option<&XvirtConsoleReader>,
    buffer: *mut u8,
    size: usize,
    is_ready: Option<&mut std::mem::MaybeUninit<bool>>,
    count: Option<&mut usize>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let count = out(count, 0, "count")?;
        let is_ready = out(is_ready, std::mem::MaybeUninit::new(false), "is_ready")?;
        let reader = given(console_reader, "console_reader")?;
        // SAFETY: the caller passes NULL or what the header asks for.
        let buffer = unsafe { self::buffer(buffer, size) }?;
        let read = reader.0.with(|reader| Ok(reader.try_read(buffer)))?;
        is_ready.write(read.is_some());
        *count = read.unwrap_or(0);
        Ok(())
    })
}
