//! Image locking.
//!
//! There are two kinds of open-file-description locks, both advisory; the kernel releases both when the last descriptor
//! is closed. They belong to the open file and not to the process, so they also separate two openers in one process. A
//! lock on a byte of our own resolves races: exactly one of several writers wins. Locks on the bytes of QEMU's protocol
//! make us visible to QEMU and `qemu-img`, and them to us: byte 100 + p means "I use permission p", byte 200 + p means
//! "no one else may use permission p". All of these are shared locks, and after taking them every opener checks for
//! conflicts.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

pub(super) use crate::descriptor::Hold;

/// Our own byte, beyond QEMU's.
const OURS: i64 = 300;
const USED: i64 = 100;
const UNSHARED: i64 = 200;

/// QEMU's permissions: consistent read, write, resize.
const READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

impl Hold {
    fn used(self) -> &'static [i64] {
        match self {
            Self::Exclusive => &[READ, WRITE, RESIZE],
            Self::Read => &[READ],
            Self::Shared => &[READ, WRITE],
        }
    }

    fn unshared(self) -> &'static [i64] {
        match self {
            Self::Exclusive => &[READ, WRITE, RESIZE],
            Self::Read => &[WRITE, RESIZE],
            Self::Shared => &[RESIZE],
        }
    }
}

/// Takes the locks on `file`; `false` if another lock conflicts. Never waits.
pub(super) fn acquire(file: &File, hold: Hold) -> io::Result<bool> {
    let ours = if hold == Hold::Exclusive { libc::F_WRLCK } else { libc::F_RDLCK };
    let used = hold.used().iter().map(|permission| USED + permission);
    let unshared = hold.unshared().iter().map(|permission| UNSHARED + permission);
    let wanted =
        std::iter::once((OURS, ours)).chain(used.chain(unshared).map(|byte| (byte, libc::F_RDLCK))).collect::<Vec<_>>();
    for (byte, kind) in wanted {
        if !set(file, byte, 1, kind)? {
            release(file);
            return Ok(false);
        }
    }
    let forbidden = hold.used().iter().map(|permission| UNSHARED + permission);
    let in_use = hold.unshared().iter().map(|permission| USED + permission);
    for byte in forbidden.chain(in_use) {
        if others_hold(file, byte)? {
            release(file);
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether somebody else writes to the file.
pub(super) fn is_written(file: &File) -> io::Result<bool> {
    others_hold(file, USED + WRITE)
}

/// Releases all locks, including those inherited by a child process between fork and exec.
pub(super) fn release(file: &File) {
    // Cannot fail for a valid range; and closing the file has the same effect.
    let _ = set(file, 0, 0, libc::F_UNLCK);
}

fn request(byte: i64, length: i64, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: length,
        l_pid: 0,
    }
}

fn set(file: &File, byte: i64, length: i64, kind: libc::c_int) -> io::Result<bool> {
    let lock = request(byte, length, kind);
    // SAFETY: the descriptor is open, and the kernel only reads the struct, which outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EAGAIN) => Ok(false),
        _ => Err(error),
    }
}

fn others_hold(file: &File, byte: i64) -> io::Result<bool> {
    let mut lock = request(byte, 1, libc::F_WRLCK);
    // SAFETY: the descriptor is open, and the kernel writes only to the struct, which outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::Holders;

    #[test]
    fn who_may_be_together() {
        let compatible = [(Hold::Read, Hold::Read), (Hold::Shared, Hold::Shared)];
        let all = [Hold::Exclusive, Hold::Read, Hold::Shared];
        for (first, second) in all.iter().flat_map(|first| all.iter().map(move |second| (*first, *second))) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("image");
            let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
            let (one, two) = (open(), open());
            assert!(acquire(&one, first).unwrap());
            assert_eq!(acquire(&two, second).unwrap(), compatible.contains(&(first, second)), "{first:?} {second:?}");
            release(&one);
            release(&two);
            assert!(acquire(&two, second).unwrap());
        }
    }

    #[test]
    fn a_refused_opener_leaves_no_lock_behind() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (one, two, three) = (file.reopen().unwrap(), file.reopen().unwrap(), file.reopen().unwrap());
        assert!(acquire(&one, Hold::Read).unwrap());
        assert!(!acquire(&two, Hold::Exclusive).unwrap());
        assert!(acquire(&three, Hold::Read).unwrap());
    }

    #[test]
    fn a_duplicate_descriptor_does_not_keep_a_released_lock() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let one = file.reopen().unwrap();
        assert!(acquire(&one, Hold::Exclusive).unwrap());
        let inherited = one.try_clone().unwrap();
        release(&one);
        drop(one);
        assert!(acquire(&file.reopen().unwrap(), Hold::Exclusive).unwrap());
        drop(inherited);
    }

    #[test]
    fn holders_of_one_open_file_exclude_each_other_as_those_of_several_do() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let (file, holders) = (path.reopen().unwrap(), Holders::default());
        let acquired = |hold| holders.acquire(hold, || acquire(&file, hold)).unwrap();
        let released = || holders.release(|| release(&file));
        let elsewhere = |hold| {
            let other = path.reopen().unwrap();
            acquire(&other, hold).unwrap()
        };
        assert!(acquired(Hold::Read));
        assert!(acquired(Hold::Read));
        assert!(!acquired(Hold::Exclusive));
        released();
        assert!(!acquired(Hold::Exclusive));
        assert!(!elsewhere(Hold::Exclusive), "the lock went with the first of two holders");
        released();
        assert!(elsewhere(Hold::Exclusive));
        assert!(acquired(Hold::Exclusive));
        assert!(!acquired(Hold::Exclusive));
        assert!(!elsewhere(Hold::Read));
    }
}
