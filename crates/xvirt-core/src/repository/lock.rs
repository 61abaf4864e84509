//! Locks between processes and between threads of one process.

use std::fs::{File, OpenOptions};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

use super::store::failed;
use crate::process::Process;
use crate::progress::interruption_due;
use crate::wait::{cancelled, until_some};
use crate::{Error, ErrorKind, Result};

/// A lock on a file until it is dropped; the kernel releases it when the holder dies.
///
/// It belongs to the open file, so it also separates two holders in one process. On NFS, the kernel turns it into a
/// byte-range lock, for which an exclusive lock needs a writable descriptor and a shared lock a readable one
/// (flock(2)).
#[derive(Debug)]
pub(super) struct FileLock {
    process: Process,
    file: File,
}

impl FileLock {
    /// Waits for an exclusive or a shared lock.
    pub(super) fn wait(path: &Path, exclusive: bool) -> Result<Self> {
        let file = OpenOptions::new().read(!exclusive).write(exclusive).open(path);
        let file = file.map_err(|error| failed(format!("cannot open lock {}", path.display()), error))?;
        let (wait, attempt) = match exclusive {
            true => (FlockOperation::LockExclusive, FlockOperation::NonBlockingLockExclusive),
            false => (FlockOperation::LockShared, FlockOperation::NonBlockingLockShared),
        };
        let locked = match interruption_due() {
            None => Some(retry_on_intr(|| flock(&file, wait))),
            Some(_) => until_some(|| match flock(&file, attempt) {
                Err(Errno::WOULDBLOCK | Errno::INTR) => None,
                locked => Some(locked),
            }),
        };
        let locked = locked.ok_or_else(|| cancelled(format_args!("lock {}", path.display())))?;
        locked.map_err(|error| cannot(path, error))?;
        Ok(Self { process: Process::current(), file })
    }

    /// Takes the exclusive lock, unless the file is locked. `file` must be writable.
    pub(super) fn take(path: &Path, file: File) -> Result<Option<Self>> {
        match retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Some(Self { process: Process::current(), file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(cannot(path, error)),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Unlocked explicitly, because a child process between fork and exec may have inherited the open file. A child
        // must not unlock it, for the same reason.
        if self.process.is_current() {
            let _ = flock(&self.file, FlockOperation::Unlock);
        }
    }
}

fn cannot(path: &Path, error: Errno) -> Error {
    Error::new(ErrorKind::HostUnsupported, format!("cannot lock {}", path.display()))
        .because(std::io::Error::from(error))
        .with_remedy("keep the repository on a file system that supports locks")
}

#[cfg(test)]
mod tests {
    use rustix::fs::fcntl_lock;

    use super::*;

    /// Whether NFS would grant the lock. It uses byte-range locks, which have the same requirements on every file
    /// system.
    fn works_on_nfs(file: &File, exclusive: bool) -> bool {
        let kind =
            if exclusive { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
        fcntl_lock(file, kind).is_ok()
    }

    #[test]
    fn locks_are_taken_through_descriptors_that_nfs_accepts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for exclusive in [false, true] {
            let lock = FileLock::wait(file.path(), exclusive).unwrap();
            assert!(works_on_nfs(&lock.file, exclusive), "exclusive: {exclusive}");
        }
    }
}
