//! Which process a thing belongs to: a child of fork(2) has a copy of it, and must leave the original alone.
//!
//! In the child there are copies of all handles, but none of the threads behind them, and a lock that another thread of
//! the parent held is never released. Sockets, locks and files are shared with the parent. So what waits for a thread or
//! acts on the outside first asks whether it [is here](Process::is_current).
//!
//! A process number does not tell parent from child for certain: both are 1 where each is the first of its PID namespace.
//! The kernel does: a page with `MADV_WIPEONFORK` (Linux 4.14) is all zeroes in the child.

use std::fmt;
use std::process;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, ErrorKind, Result};

/// Bytes of the page; only its first word is used.
const PAGE: usize = 4096;

/// How many forks, at most, lie between the first process and this one, as far as anything was made in each.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// A process, as told from its ancestors and from its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u64);

impl Process {
    /// The process that calls.
    pub(crate) fn current() -> Self {
        let Some(mark) = mark() else { return Self(process::id().into()) };
        let known = mark.load(Ordering::Relaxed);
        if known != 0 {
            return Self(known);
        }
        // What a child has inherited was made in an earlier generation.
        let next = GENERATION.fetch_add(1, Ordering::Relaxed) + 1;
        match mark.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Self(next),
            Err(known) => Self(known),
        }
    }

    /// Whether this is the process that calls, and not one that it was forked from.
    pub(crate) fn is_current(self) -> bool {
        self == Self::current()
    }

    /// An error unless this is the process that calls; `what` is what belongs to it.
    pub(crate) fn require(self, what: impl fmt::Display) -> Result<()> {
        if self.is_current() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidState, format!("{what} belongs to the process that this one was forked from"))
            .with_remedy("use it there, or make another one here after the fork"))
    }
}

/// What is 0 at the beginning of each process; none where the kernel does not have that.
fn mark() -> Option<&'static AtomicU64> {
    static MARK: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    *MARK.get_or_init(|| {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: exactly the page that was just mapped.
        if unsafe { libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) } != 0 {
            // SAFETY: as above, and nobody knows of it.
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

    /// What a child of fork(2) answers, which may not do more than ask and end.
    pub(crate) fn in_child(ask: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child only reads atomics and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let code = i32::from(!ask());
            // SAFETY: ends the child, without what the parent has registered for its own end.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: waits for the child, with the status in a variable of ours.
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
