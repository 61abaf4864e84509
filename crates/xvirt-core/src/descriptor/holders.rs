//! The users of one open file, for which the kernel keeps one lock.
//!
//! A lock of the kernel belongs to the open file description (`F_OFD_SETLK`, fcntl(2)), which all duplicates of a
//! descriptor share. So it excludes other openers of a file, but not two users of one descriptor: those are counted
//! here.

use std::io;
use std::sync::Mutex;

use crate::sync::lock;

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// For writing; no one else may read or write.
    Exclusive,
    /// For reading; no one may write.
    Read,
    /// For writing, together with others that lock it the same way.
    Shared,
}

/// The users of a descriptor and its duplicates: how they hold the file, and how many they are.
#[derive(Debug, Default)]
pub(crate) struct Holders(Mutex<Option<(Hold, usize)>>);

impl Holders {
    /// Adds one user. The first one locks the file with `acquire`, which answers whether nobody else keeps it from
    /// that.
    pub(crate) fn acquire(&self, hold: Hold, acquire: impl FnOnce() -> io::Result<bool>) -> io::Result<bool> {
        let mut held = lock(&self.0);
        match &mut *held {
            Some((how, count)) if *how == hold && hold != Hold::Exclusive => {
                *count += 1;
                Ok(true)
            }
            Some(_) => Ok(false),
            None => {
                let acquired = acquire()?;
                *held = acquired.then_some((hold, 1));
                Ok(acquired)
            }
        }
    }

    /// Removes one user. The last one unlocks the file with `release`.
    pub(crate) fn release(&self, release: impl FnOnce()) {
        let mut held = lock(&self.0);
        match &mut *held {
            Some((_, count)) if *count > 1 => *count -= 1,
            _ => {
                release();
                *held = None;
            }
        }
    }
}
