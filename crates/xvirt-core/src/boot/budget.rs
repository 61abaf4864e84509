//! Bounds what reading a boot menu may cost in total.
//!
//! The disk is the guest's: each directory, path and configuration on it may be small enough, and all of them together
//! still take minutes. So whatever is read for one menu counts against one budget. Work is counted, not time, so that
//! a disk is read alike on every host.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::progress::interrupted;

/// The remedy for a disk that takes too much work.
const REMEDY: &str = "look for directories, links and menus on the disk that lead in circles, or give the kernel \
                      explicitly with Boot::kernel";

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Bytes read, decoded or kept in memory; holes of files count like data.
    Bytes,
    /// Entries of directories that were looked at.
    DirectoryEntries,
    /// Names in paths that were looked up.
    PathComponents,
    /// What GRUB's scripts do: a step is a short command.
    Steps,
}

impl Work {
    const ALL: [Self; 4] = [Self::Bytes, Self::DirectoryEntries, Self::PathComponents, Self::Steps];

    /// The most of it for one menu: far more than all configurations of a disk need, and done within seconds.
    pub(super) const fn limit(self) -> u64 {
        match self {
            Self::Bytes => 2 << 30,
            Self::DirectoryEntries => 64 << 20,
            Self::PathComponents => 256 << 10,
            Self::Steps => 200_000,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::DirectoryEntries => "directory entries",
            Self::PathComponents => "path components",
            Self::Steps => "steps of scripts",
        }
    }
}

/// Why reading stopped, as a number in [`Budget::stop`].
const RUNNING: u8 = u8::MAX;
const CANCELLED: u8 = u8::MAX - 1;

/// What is left of each kind of work. Once one is used up, or the caller has cancelled the call, all further work fails.
#[derive(Debug)]
pub(super) struct Budget {
    left: [AtomicU64; Work::ALL.len()],
    /// The kind of work that was used up, or one of the constants above.
    stop: AtomicU8,
}

impl Budget {
    /// The budget for one menu.
    pub(super) fn new() -> Self {
        Self { left: Work::ALL.map(|work| AtomicU64::new(work.limit())), stop: AtomicU8::new(RUNNING) }
    }

    /// Begins anew, with `bytes` added for files to be loaded.
    pub(super) fn renew(&self, bytes: u64) {
        for (left, work) in self.left.iter().zip(Work::ALL) {
            let more = if work == Work::Bytes { bytes } else { 0 };
            left.store(work.limit().saturating_add(more), Ordering::Relaxed);
        }
        self.stop.store(RUNNING, Ordering::Relaxed);
    }

    /// Takes `count` of a kind of work.
    pub(super) fn spend(&self, work: Work, count: u64) -> io::Result<()> {
        if self.has_stopped() {
            return Err(self.stopped());
        }
        let take = |left: u64| left.checked_sub(count);
        if self.left[work as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            self.stop.store(work as u8, Ordering::Relaxed);
            return Err(self.stopped());
        }
        Ok(())
    }

    /// Whether no more work may be done.
    pub(super) fn has_stopped(&self) -> bool {
        if self.stop.load(Ordering::Relaxed) == RUNNING && interrupted() {
            self.stop.store(CANCELLED, Ordering::Relaxed);
        }
        self.stop.load(Ordering::Relaxed) != RUNNING
    }

    /// Fails if reading the menu has stopped before its end.
    pub(super) fn check(&self) -> Result<()> {
        if !self.has_stopped() {
            return Ok(());
        }
        match self.exceeded() {
            Some(work) => {
                let what = format!("cannot read the boot menu of the disk: {}", too_much(work));
                Err(Error::new(ErrorKind::LimitExceeded, what).with_remedy(REMEDY))
            }
            None => Err(cancelled()),
        }
    }

    /// The error of work that may not be done.
    fn stopped(&self) -> io::Error {
        match self.exceeded() {
            Some(work) => io::Error::new(io::ErrorKind::QuotaExceeded, too_much(work)),
            None => io::Error::other(cancelled()),
        }
    }

    fn exceeded(&self) -> Option<Work> {
        Work::ALL.get(usize::from(self.stop.load(Ordering::Relaxed))).copied()
    }

    /// How much of a kind of work was done.
    #[cfg(test)]
    pub(super) fn spent(&self, work: Work) -> u64 {
        work.limit() - self.left[work as usize].load(Ordering::Relaxed)
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "reading the boot menu of the disk was cancelled")
}

fn too_much(work: Work) -> String {
    format!(
        "it takes more than {} {}, the limit for all its file systems and configurations",
        work.limit(),
        work.name()
    )
}
