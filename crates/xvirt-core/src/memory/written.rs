//! What guest memory knows of its pages: those that were written, and who has to know before one is released or used.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use vm_memory::bitmap::{AtomicBitmap, Bitmap, NewBitmap, RefSlice, WithBitmapSlice};

use crate::Result;

/// Reads guest memory as it was at one moment, or loads it, behind the guest's back.
pub(crate) trait Keeper: Send + Sync {
    /// The pages at these addresses of this process are about to be released: reads what is in them, or does not load
    /// them any more.
    fn keep(&self, addresses: &Range<usize>);

    /// Waits until what is at these addresses of this process has been loaded.
    ///
    /// # Errors
    /// It cannot be: what is there must not be used.
    fn load(&self, addresses: &Range<usize>) -> Result<()>;

    /// Checks what was read without [`load`](Self::load) first.
    ///
    /// # Errors
    /// Some memory cannot be loaded, so zeroes may have been read in its place.
    fn check(&self) -> Result<()>;
}

/// The pages of a region of guest memory that were written by this process.
#[derive(Default)]
pub(crate) struct WrittenPages {
    pages: AtomicBitmap,
    keeper: RwLock<Option<Arc<dyn Keeper>>>,
}

impl WrittenPages {
    /// Sets who has to know before pages are released or used, or that nobody does. Waits until none is being released.
    pub(crate) fn set_keeper(&self, keeper: Option<Arc<dyn Keeper>>) {
        *self.keeper.write().unwrap_or_else(PoisonError::into_inner) = keeper;
    }

    /// Lets the pages at these addresses of this process be read before they are released. The keeper stays the same
    /// until the result is dropped.
    pub(super) fn before_release(&self, addresses: &Range<usize>) -> RwLockReadGuard<'_, Option<Arc<dyn Keeper>>> {
        let keeper = self.keeper.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(keeper) = &*keeper {
            keeper.keep(addresses);
        }
        keeper
    }

    /// Waits until what is at these addresses of this process has been loaded.
    pub(super) fn before_use(&self, addresses: &Range<usize>) -> Result<()> {
        let keeper = self.keeper.read().unwrap_or_else(PoisonError::into_inner).clone();
        keeper.map_or(Ok(()), |keeper| keeper.load(addresses))
    }

    /// Fails if zeroes may have been read in place of memory that cannot be loaded.
    pub(super) fn after_use(&self) -> Result<()> {
        let keeper = self.keeper.read().unwrap_or_else(PoisonError::into_inner).clone();
        keeper.map_or(Ok(()), |keeper| keeper.check())
    }
}

impl Deref for WrittenPages {
    type Target = AtomicBitmap;

    fn deref(&self) -> &AtomicBitmap {
        &self.pages
    }
}

impl fmt::Debug for WrittenPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrittenPages").finish_non_exhaustive()
    }
}

impl<'a> WithBitmapSlice<'a> for WrittenPages {
    type S = RefSlice<'a, AtomicBitmap>;
}

impl Bitmap for WrittenPages {
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.pages.mark_dirty(offset, len);
    }

    fn dirty_at(&self, offset: usize) -> bool {
        self.pages.dirty_at(offset)
    }

    fn slice_at(&self, offset: usize) -> RefSlice<'_, AtomicBitmap> {
        self.pages.slice_at(offset)
    }
}

impl NewBitmap for WrittenPages {
    fn with_len(len: usize) -> Self {
        Self { pages: AtomicBitmap::with_len(len), keeper: RwLock::default() }
    }
}
