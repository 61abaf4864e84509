//! Cancelling calls of other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::call::entry;
use crate::error::{XvirtError, XvirtStatus};
use crate::handle::{free, given, put_handle};
use crate::output::out;

/// Cancels the calls that got it in their `XvirtCall`.
///
/// Several threads may use it at once, and several calls may get it. Free it with xvirt_cancel_free() when no call that
/// got it runs any more.
pub struct XvirtCancel(pub Arc<AtomicBool>);

/// Creates one that cancels nothing yet. Free `cancel` with xvirt_cancel_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_cancel_new(
    cancel: Option<&mut *mut XvirtCancel>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let cancel = out(cancel, std::ptr::null_mut(), "cancel")?;
        put_handle(cancel, XvirtCancel(Arc::default()));
        Ok(())
    })
}

/// Cancels all calls that got it, also those that start later. They fail with XVIRT_STATUS_CANCELLED within 100 ms, and
/// leave nothing half done. A call that has already changed something may still succeed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_cancel_cancel(
    cancel: Option<&XvirtCancel>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        given(cancel, "cancel")?.0.store(true, Ordering::Relaxed);
        Ok(())
    })
}

/// Frees it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_cancel_free(cancel: Option<Box<XvirtCancel>>) {
    free(cancel);
}
