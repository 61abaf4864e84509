//! Errors of calls.

use std::error::Error as StdError;
use std::ffi::{CString, c_char};
use std::ptr;

use xvirt_core::{Error, ErrorKind};

use crate::handle::free;
pub use crate::status::XvirtStatus;
use crate::status::status_of;

/// What went wrong, in all detail.
///
/// The caller of the failed call owns it, and frees it with xvirt_error_free(). Several threads may use it at once. Its
/// texts are NUL-terminated UTF-8 and valid until it is freed.
pub struct XvirtError {
    status: XvirtStatus,
    errno: i32,
    message: CString,
    remedy: Option<CString>,
    text: CString,
    cause: Option<Box<Self>>,
}

/// What made a call fail.
pub enum Failure {
    Error(Error),
    Panic(String),
}

impl Failure {
    pub fn status(&self) -> XvirtStatus {
        match self {
            Self::Error(error) => status_of(error.kind()),
            Self::Panic(_) => XvirtStatus::Internal,
        }
    }
}

impl XvirtError {
    pub fn of(failure: Failure) -> *mut Self {
        let error = match failure {
            Failure::Error(error) => Self::of_core(&error),
            Failure::Panic(message) => Self {
                status: XvirtStatus::Internal,
                errno: 0,
                message: text("the library has a defect"),
                remedy: Some(text("report it; do not use the handles of this call any more, except to free them")),
                text: text(&format!("the library has a defect: {message}")),
                cause: None,
            },
        };
        Box::into_raw(Box::new(error))
    }

    fn of_core(error: &Error) -> Self {
        Self {
            status: status_of(error.kind()),
            errno: errno(error),
            message: text(error.message()),
            remedy: error.remedy().map(text),
            text: text(&error.to_string()),
            cause: error.cause().map(|cause| Box::new(Self::of_cause(cause))),
        }
    }

    fn of_cause(cause: &(dyn StdError + 'static)) -> Self {
        if let Some(error) = cause.downcast_ref::<Error>() {
            return Self::of_core(error);
        }
        let shown = text(&cause.to_string());
        Self {
            status: status_of(ErrorKind::Io),
            errno: errno(cause),
            message: shown.clone(),
            remedy: None,
            text: shown,
            cause: cause.source().map(|cause| Box::new(Self::of_cause(cause))),
        }
    }
}

/// The number of the operating system's error behind an error.
fn errno(error: &(dyn StdError + 'static)) -> i32 {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(number) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
            return number;
        }
        next = match error.downcast_ref::<Error>() {
            Some(error) => error.cause().map(|cause| cause as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    0
}

fn text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// The kind of the error: what the failed call has returned. XVIRT_STATUS_OK if `error` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_error_status(error: Option<&XvirtError>) -> XvirtStatus {
    error.map_or(XvirtStatus::Ok, |error| error.status)
}

/// What failed, and on what, without its cause and remedy. "" if `error` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_error_message(error: Option<&XvirtError>) -> *const c_char {
    error.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// What to do about it; NULL if nothing is known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_error_remedy(error: Option<&XvirtError>) -> *const c_char {
    error.and_then(|error| error.remedy.as_ref()).map_or(ptr::null(), |remedy| remedy.as_ptr())
}

/// All of it in one line: what failed, why, and what to do. "" if `error` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_error_text(error: Option<&XvirtError>) -> *const c_char {
    error.map_or(c"".as_ptr(), |error| error.text.as_ptr())
}

/// The number of the operating system's error (see errno(3)) that led to it; 0 if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_error_errno(error: Option<&XvirtError>) -> i32 {
    error.map_or(0, |error| error.errno)
}

/// The error that caused this one, which belongs to it; NULL if there is none. Do not free it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_error_cause(error: Option<&XvirtError>) -> *const XvirtError {
    error.and_then(|error| error.cause.as_deref()).map_or(ptr::null(), ptr::from_ref)
}

/// Frees an error with all that its functions have returned. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_error_free(error: Option<Box<XvirtError>>) {
    free(error);
}
