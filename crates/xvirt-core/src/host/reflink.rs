//! Tests whether files can share blocks.

use std::fs::{File, OpenOptions, remove_file};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::ioctl_ficlone;
use rustix::io::Errno;

use crate::{Error, ErrorKind, Result};

/// Clones one unnamed file into another in `dir`.
pub(super) fn supported(dir: &Path) -> Result<bool> {
    let failed = |source| not_tried(dir, source);
    let mut from = unnamed(dir).map_err(failed)?;
    // Larger than the data that file systems store inline in the inode, which cannot be shared.
    from.write_all(&[0x5a; 64 << 10]).map_err(failed)?;
    let to = unnamed(dir).map_err(failed)?;
    judge(ioctl_ficlone(&to, &from)).map_err(failed)
}

fn judge(cloned: rustix::io::Result<()>) -> io::Result<bool> {
    match cloned {
        Ok(()) => Ok(true),
        // The errors by which file systems report missing support.
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::XDEV | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn unnamed(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(dir) {
        // If the file system does not support unnamed files, removes the name at once.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {
            let path = dir.join(format!(".xvirt-{}", uuid::Uuid::new_v4()));
            let file = options.create_new(true).open(&path)?;
            remove_file(&path)?;
            Ok(file)
        }
        other => other,
    }
}

fn not_tried(dir: &Path, source: io::Error) -> Error {
    let what = format!("cannot try reflinks in folder {}", dir.display());
    match source.raw_os_error() {
        Some(libc::ENOENT) => Error::io(what, source).with_remedy("create the folder first"),
        Some(libc::ENOTDIR) => {
            Error::new(ErrorKind::InvalidConfig, what).because(source).with_remedy("name a folder, not a file")
        }
        Some(libc::EROFS) => Error::new(ErrorKind::PermissionDenied, what)
            .because(source)
            .with_remedy("choose a folder that is not on a read-only file system, or remount it"),
        Some(libc::EACCES | libc::EPERM) => {
            Error::io(what, source).with_remedy("choose a folder this user may write to")
        }
        Some(libc::ENOSPC | libc::EDQUOT) => {
            Error::new(ErrorKind::NoSpace, what).because(source).with_remedy("free 64 KiB there")
        }
        _ => Error::io(what, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_really_tried_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let first = supported(folder.path()).unwrap();
        assert_eq!(supported(folder.path()).unwrap(), first);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    /// On a real Btrfs, which supports it, and which then becomes read-only.
    #[test]
    fn a_file_system_that_can_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let dir = folder.path().join("mounted");
        std::fs::create_dir(&dir).unwrap();
        File::create(&image).unwrap().set_len(128 << 20).unwrap();
        let run = |program: &str, args: &[&std::ffi::OsStr]| {
            std::process::Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
        };
        if !run("mkfs.btrfs", &[image.as_ref()])
            || !run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), dir.as_ref()])
        {
            println!("SKIPPED a_file_system_that_can_is_found_out: needs root, mkfs.btrfs and loop devices");
            return;
        }
        let can = supported(&dir);
        let remounted = run("mount", &["-o".as_ref(), "remount,ro".as_ref(), dir.as_ref()]);
        let read_only = supported(&dir);
        assert!(run("umount", &[dir.as_ref()]));
        assert!(can.unwrap());
        assert!(remounted);
        let error = read_only.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.remedy(), Some("choose a folder that is not on a read-only file system, or remount it"));
    }

    #[test]
    fn a_file_system_that_cannot_is_no_error() {
        assert!(judge(Ok(())).unwrap());
        for errno in [Errno::OPNOTSUPP, Errno::NOTTY, Errno::INVAL, Errno::XDEV] {
            assert!(!judge(Err(errno)).unwrap());
        }
        assert!(judge(Err(Errno::IO)).is_err());
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_an_error_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let error = supported(&folder.path().join("missing")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.remedy(), Some("create the folder first"));

        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = supported(&file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(error.remedy(), Some("name a folder, not a file"));

        for (errno, kind, text) in [
            (
                libc::EROFS,
                ErrorKind::PermissionDenied,
                "cannot try reflinks in folder /d: Read-only file system (os error 30); \
                 choose a folder that is not on a read-only file system, or remount it",
            ),
            (
                libc::EACCES,
                ErrorKind::PermissionDenied,
                "cannot try reflinks in folder /d: Permission denied (os error 13); \
                 choose a folder this user may write to",
            ),
            (
                libc::ENOSPC,
                ErrorKind::NoSpace,
                "cannot try reflinks in folder /d: No space left on device (os error 28); free 64 KiB there",
            ),
        ] {
            let error = not_tried(Path::new("/d"), io::Error::from_raw_os_error(errno));
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
        }
    }
}
