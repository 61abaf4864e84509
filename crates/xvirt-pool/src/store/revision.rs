//! Places in the history of a store, and whether they can be read.

use std::fmt;

use crate::{Error, ErrorKind, Result};

/// The number of a committed transaction. It increases by one with each, and is never used twice within an epoch.
/// Revision 0 is the empty store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The revision with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The next revision.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in the history of a store, from which a watch can go on. Cursors are in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Grows whenever the store is restored or moved to another engine. Revisions of different epochs have nothing to do
    /// with each other.
    pub epoch: u64,
    /// Everything up to this revision has been seen.
    pub revision: Revision,
}

/// Where a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The newest revision.
    pub cursor: Cursor,
    /// The oldest revision that can be read.
    pub compacted: Revision,
}

impl Position {
    /// Checks that a revision can be read.
    pub(crate) fn check(self, at: Revision) -> Result<()> {
        let newest = self.cursor.revision;
        if at < self.compacted {
            let what =
                format!("revision {at} is no longer kept: the store was compacted up to revision {}", self.compacted);
            return Err(Error::new(ErrorKind::Compacted, what).with_remedy("read everything again"));
        }
        if at > newest {
            let what = format!("there is no revision {at} yet: the newest is {newest}");
            return Err(Error::new(ErrorKind::FutureRevision, what)
                .with_remedy("read from a member that has it, or read everything again if none does"));
        }
        Ok(())
    }

    /// Checks that a watch can go on from a cursor.
    pub(crate) fn check_cursor(self, cursor: Cursor) -> Result<()> {
        if cursor.epoch != self.cursor.epoch {
            let what = format!("cannot watch from epoch {}: the store is in epoch {}", cursor.epoch, self.cursor.epoch);
            return Err(Error::new(ErrorKind::EpochChanged, what).with_remedy("read everything again"));
        }
        self.check(cursor.revision)
    }
}
