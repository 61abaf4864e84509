//! Ties an object to its process, because a child of fork(2) has a copy and must not affect the original.
//!
//! The child has copies of all handles, but none of the threads behind them, and locks held by other threads of the
//! parent are never released. Sockets, locks and files are shared with the parent. So code that waits for a thread or
//! has external effects first checks [`Process::is_current`].
//!
//! A process id cannot distinguish parent and child reliably: both are 1 if each is the first process of its PID
//! namespace. The kernel can: a page with `MADV_WIPEONFORK` (Linux 4.14) is all zeroes in the child.

use std::fmt;
use std::process;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, ErrorKind, Result};

/// The page size in bytes; only the first word is used.
const PAGE: usize = 4096;

/// The highest generation assigned so far; each fork that creates objects adds one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// A process, distinct from its ancestors and children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u64);

impl Process {
    /// The calling process.
    pub(crate) fn current() -> Self {
        let Some(mark) = mark() else { return Self(process::id().into()) };
        let known = mark.load(Ordering::Relaxed);
        if known != 0 {
            return Self(known);
        }
        // Everything that a child has inherited is from an earlier generation.
        let next = GENERATION.fetch_add(1, Ordering::Relaxed) + 1;
        match mark.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Self(next),
            Err(known) => Self(known),
        }
    }

    /// Whether this is the calling process, rather than its parent.
    pub(crate) fn is_current(self) -> bool {
        self == Self::current()
    }

    /// Fails unless this is the calling process; `what` is the object that belongs to it.
    pub(crate) fn require(self, what: impl fmt::Display) -> Result<()> {
        if self.is_current() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidState, format!("{what} belongs to the process that this one was forked from"))
            .with_remedy("use it there, or create another one here after the fork"))
    }
}

/// A word that is 0 at the start of each process; `None` if the kernel does not support that.
fn mark() -> Option<&'static AtomicU64> {
    static MARK: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    *MARK.get_or_init(|| {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address chosen by the kernel.
        let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: exactly the page that was just mapped.
        if unsafe { libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) } != 0 {
            // SAFETY: exactly the page that was just mapped, which has no other user.
            unsafe { libc::munmap(page, PAGE) };
            return None;
        }
        // SAFETY: the page is aligned, all zeroes is a valid value, and it stays mapped as long as the process.
        Some(unsafe { &*page.cast::<AtomicU64>() })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The answer of a child of fork(2), which may only evaluate `ask` and exit.
    pub(crate) fn in_child(ask: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child only reads atomics and exits.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let code = i32::from(!ask());
            // SAFETY: exits the child without the parent's exit handlers.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: waits for the child; the status is a local variable.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }

    #[test]
    fn children_and_their_children_are_others() {
        assert!(mark().is_some(), "the kernel has no MADV_WIPEONFORK");
        let parent = Process::current();
        assert!(parent.is_current());
        assert!(in_child(|| !parent.is_current() && Process::current().is_current()));
        assert!(in_child(|| {
            let child = Process::current();
            in_child(|| !parent.is_current() && !child.is_current() && Process::current() != child)
        }));
        assert!(parent.is_current());
    }
}
