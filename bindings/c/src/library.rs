//! The library itself.

use std::ffi::{c_char, c_void};

use crate::call::entry;
use crate::error::{XvirtError, XvirtStatus};
use crate::output::out;

/// The most vCPUs of a VM.
pub const XVIRT_MAX_VCPUS: u32 = 254;

/// The length in bytes of the header before each frame of an XvirtTap: a `struct virtio_net_hdr_v1`.
pub const XVIRT_VNET_HEADER_LENGTH: usize = 12;

// The header has only numbers that are written here.
const _: () = assert!(XVIRT_MAX_VCPUS == xvirt_core::config::MAX_VCPUS);
const _: () = assert!(XVIRT_VNET_HEADER_LENGTH == xvirt_core::net::VNET_HEADER_LEN);

/// The version of the library, such as "0.1.0". The text is never freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Frees text or bytes that a call has returned. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_free(memory: *mut c_void) {
    // SAFETY: calls allocate text and bytes with malloc, and the caller passes them once.
    unsafe { libc::free(memory) };
}

/// The kernel of the demo guest, a small program that runs without an operating system, for trying this library: boot it
/// with a command line such as "mode=hello,poweroff". The bytes are never freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_demo_kernel(
    kernel: Option<&mut *const u8>,
    length: Option<&mut usize>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let kernel = out(kernel, std::ptr::null(), "kernel")?;
        let length = out(length, 0, "length")?;
        let bytes = xvirt_core::demo::kernel();
        (*kernel, *length) = (bytes.as_ptr(), bytes.len());
        Ok(())
    })
}
