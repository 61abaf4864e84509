//! Open descriptors that the program passes, for a process that cannot open anything itself.
//!
//! Each descriptor is checked before it is used. It is duplicated for use, so that the VM can start again with it.

mod holders;

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

pub(crate) use holders::{Hold, Holders};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use serde::{Serialize, Serializer};

use crate::named_file::describe;
use crate::{Error, ErrorKind, Result};

/// An open descriptor that the program passes. Clones share the descriptor, and the last one closes it. Two values are
/// equal if one is a clone of the other.
///
/// A process that cannot open anything, because of seccomp or Landlock, can run a VM on descriptors from another
/// process:
///
/// | What | How it is given |
/// |---|---|
/// | `/dev/kvm`, and the report of the host | [`Host::with_kvm`](crate::host::Host::with_kvm) |
/// | kernel and initial RAM disk | [`Boot::kernel`](crate::config::Boot::kernel), [`Boot::initrd`](crate::config::Boot::initrd) |
/// | a disk, with every file that it is based on | [`Disk::descriptor`](crate::config::Disk::descriptor) |
/// | guest memory | [`VmConfig::memory_file`](crate::config::VmConfig::memory_file); optional |
/// | a tap | [`Nic::tap_descriptor`](crate::config::Nic::tap_descriptor) |
/// | a connection with `passt` or the like | [`Nic::connection`](crate::config::Nic::connection) |
/// | the socket of host programs that connect to the guest | [`Vsock::listener`](crate::config::Vsock::listener) |
///
/// Consoles take no descriptor: their output is kept in memory. CPU limits need files of control groups, so such a
/// process cannot set them; its parent can. Each of these functions documents the requirements on the descriptor. They
/// are checked when it is used, and fail with [`InvalidConfig`](ErrorKind::InvalidConfig).
#[derive(Clone, Debug)]
pub struct Descriptor(Arc<Open>);

#[derive(Debug)]
struct Open {
    file: OwnedFd,
    /// Who has it locked. A duplicate in use outlives the descriptor, and so does this.
    holders: Arc<Holders>,
}

/// The access that a file is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    ReadWrite,
}

impl Descriptor {
    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        format!("descriptor {}", self.0.file.as_raw_fd())
    }

    /// Duplicates it.
    pub(crate) fn duplicate(&self) -> Result<OwnedFd> {
        self.0.file.try_clone().map_err(|error| Error::io(format!("cannot duplicate {}", self.name()), error))
    }

    /// Duplicates it, if it is a file of one of these `kinds` and open for `how`. `what` names its purpose in messages,
    /// as in "kernel".
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) otherwise.
    pub(crate) fn file(&self, what: &str, kinds: &[FileType], how: Use) -> Result<File> {
        let kind = self.kind(what)?;
        if !kinds.contains(&kind) {
            let wanted: Vec<_> = kinds.iter().map(|kind| describe(*kind)).collect();
            let remedy = format!("give a descriptor of {}", wanted.join(" or "));
            return Err(self.unfit(what, &format!("it is {}", describe(kind))).with_remedy(remedy));
        }
        let flags = fcntl_getfl(&self.0.file).map_err(|errno| self.cannot_ask(what, errno))?;
        let (readable, writable) = match flags & OFlags::ACCMODE {
            _ if flags.contains(OFlags::PATH) => (false, false),
            OFlags::WRONLY => (false, true),
            OFlags::RDWR => (true, true),
            _ => (true, false),
        };
        if !readable {
            return Err(self.unfit(what, "it is not open for reading").with_remedy("open the file for reading"));
        }
        if how == Use::ReadWrite && !writable {
            return Err(self
                .unfit(what, "it is not open for writing")
                .with_remedy("open the file for reading and writing, or let the VM only read it"));
        }
        if how == Use::ReadWrite && flags.contains(OFlags::APPEND) {
            // Linux would write at the end of the file whatever the offset (pwrite(2)).
            return Err(self.unfit(what, "it is open for appending").with_remedy("open the file without O_APPEND"));
        }
        if flags.contains(OFlags::DIRECT) {
            return Err(self.unfit(what, "it bypasses the page cache").with_remedy("open the file without O_DIRECT"));
        }
        self.duplicate().map(File::from)
    }

    /// Who has its file locked.
    pub(crate) fn holders(&self) -> Arc<Holders> {
        Arc::clone(&self.0.holders)
    }

    /// The kind of its file.
    pub(crate) fn kind(&self, what: &str) -> Result<FileType> {
        let found = fstat(&self.0.file).map_err(|errno| self.cannot_ask(what, errno))?;
        Ok(FileType::from_raw_mode(found.st_mode))
    }

    /// The error that it cannot be used as `what`, and why.
    pub(crate) fn unfit(&self, what: &str, why: &str) -> Error {
        Error::new(ErrorKind::InvalidConfig, format!("cannot use {} as {what}: {why}", self.name()))
    }

    /// The error that the kernel cannot be asked about it.
    pub(crate) fn cannot_ask(&self, what: &str, errno: rustix::io::Errno) -> Error {
        Error::io(format!("cannot use {} as {what}", self.name()), errno.into())
    }
}

impl From<OwnedFd> for Descriptor {
    fn from(descriptor: OwnedFd) -> Self {
        Self(Arc::new(Open { file: descriptor, holders: Arc::default() }))
    }
}

impl From<File> for Descriptor {
    fn from(file: File) -> Self {
        OwnedFd::from(file).into()
    }
}

impl From<UnixListener> for Descriptor {
    fn from(listener: UnixListener) -> Self {
        OwnedFd::from(listener).into()
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

/// Always fails: a descriptor has no meaning outside its process.
impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("an open descriptor cannot be serialized"))
    }
}

impl PartialEq for Descriptor {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Descriptor {}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    fn refused(descriptor: impl Into<Descriptor>, how: Use) -> String {
        let descriptor = descriptor.into();
        let kinds = [FileType::RegularFile, FileType::BlockDevice];
        let error = descriptor.file("a disk image", &kinds, how).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        error.to_string().replace(&descriptor.name(), "descriptor N")
    }

    #[test]
    fn what_is_no_file_is_named() {
        let (reader, _writer) = io::pipe().unwrap();
        for (descriptor, kind) in [
            (OwnedFd::from(File::open("/").unwrap()), "a directory"),
            (OwnedFd::from(reader), "a FIFO"),
            (OwnedFd::from(File::open("/dev/null").unwrap()), "a character device"),
            (std::os::unix::net::UnixStream::pair().unwrap().0.into(), "a socket"),
        ] {
            assert_eq!(
                refused(descriptor, Use::Read),
                format!(
                    "cannot use descriptor N as a disk image: it is {kind}; \
                     give a descriptor of a regular file or a block device"
                )
            );
        }
    }

    #[test]
    fn a_file_that_is_open_in_another_way_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = |options: &mut OpenOptions| options.open(file.path()).unwrap();
        let appending = || open(OpenOptions::new().read(true).append(true));
        for (descriptor, how, why) in [
            (open(OpenOptions::new().write(true)), Use::Read, "it is not open for reading; open the file for reading"),
            (
                open(OpenOptions::new().read(true).custom_flags(libc::O_PATH)),
                Use::Read,
                "it is not open for reading; open the file for reading",
            ),
            (
                open(OpenOptions::new().read(true)),
                Use::ReadWrite,
                "it is not open for writing; open the file for reading and writing, or let the VM only read it",
            ),
            (appending(), Use::ReadWrite, "it is open for appending; open the file without O_APPEND"),
        ] {
            assert_eq!(refused(descriptor, how), format!("cannot use descriptor N as a disk image: {why}"));
        }
        Descriptor::from(appending()).file("a disk image", &[FileType::RegularFile], Use::Read).unwrap();
    }

    #[test]
    fn clones_are_one_descriptor_and_duplicates_are_not() {
        let one = Descriptor::from(File::open("/dev/null").unwrap());
        assert_eq!(one, one.clone());
        assert_ne!(one, Descriptor::from(one.duplicate().unwrap()));
    }
}
