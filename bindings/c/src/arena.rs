//! The memory behind a result: everything in it is freed at once.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::ptr;

use crate::output::ToC;
use crate::text::XvirtStringPair;

/// What a result points to.
#[derive(Default)]
pub struct Arena(RefCell<Vec<Kept>>);

/// An allocation, and what frees it.
struct Kept {
    at: *mut (),
    free: unsafe fn(*mut ()),
}

impl Arena {
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves a value into the arena. It stays where it is until the arena is dropped.
    pub fn keep<T: 'static>(&self, value: T) -> *const T {
        /// # Safety
        /// `at` comes from [`Box::into_raw`] of a `Box<T>`, and is used for the last time.
        unsafe fn free<T>(at: *mut ()) {
            // SAFETY: as for this function.
            drop(unsafe { Box::from_raw(at.cast::<T>()) });
        }
        let at = Box::into_raw(Box::new(value));
        self.0.borrow_mut().push(Kept { at: at.cast(), free: free::<T> });
        at
    }

    /// A copy of text, with a NUL at its end. Text ends at the first NUL in it.
    pub fn text(&self, text: &[u8]) -> *const c_char {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        let text = CString::new(text.get(..end).unwrap_or_default()).unwrap_or_default();
        let start = text.as_ptr();
        self.keep(text);
        start
    }

    /// A copy of bytes.
    pub fn bytes(&self, bytes: &[u8]) -> *const u8 {
        self.values(bytes.to_vec())
    }

    /// An array of values.
    pub fn list<'a, C: Copy + 'static, T: ToC<C> + 'a>(&self, values: impl Iterator<Item = &'a T>) -> *const C {
        self.values(values.map(|value| value.to_c(self)).collect())
    }

    /// An array of pairs of text.
    pub fn pairs(&self, pairs: &std::collections::BTreeMap<String, String>) -> *const XvirtStringPair {
        let pair = |(key, value): (&String, &String)| XvirtStringPair {
            key: self.text(key.as_bytes()),
            value: self.text(value.as_bytes()),
        };
        self.values(pairs.iter().map(pair).collect())
    }

    fn values<C: 'static>(&self, values: Vec<C>) -> *const C {
        if values.is_empty() {
            return ptr::null();
        }
        let start = values.as_ptr();
        self.keep(values);
        start
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for kept in self.0.get_mut().drain(..) {
            // SAFETY: each entry has the function for the type that it was made of, and leaves the list.
            unsafe { (kept.free)(kept.at) };
        }
    }
}
