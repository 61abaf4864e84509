//! The files of a boot entry.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::entry::{BootEntry, BootFiles, BootSource};
use super::file::{BootFile, Initrd};
use super::unified;
use super::volume::{DiskPath, Volumes, within};
use super::xen;
use crate::error::{Error, ErrorKind, Result};

/// Size limits of the files read from a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// The largest kernel image, in bytes; 256 MiB by default.
    pub kernel: u64,
    /// The largest sum of all initial RAM disks, in bytes; 1 GiB by default.
    pub initrd: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { kernel: 256 << 20, initrd: 1 << 30 }
    }
}

/// Kernel and initial RAM disks of a boot entry, which are read from the disk on demand.
#[derive(Debug)]
pub(crate) struct BootImage<'m> {
    title: String,
    pub(crate) kernel: BootFile<'m>,
    pub(crate) initrd: Option<Initrd<'m>>,
    /// The kernel command line.
    pub(crate) command_line: String,
}

impl<'m> BootImage<'m> {
    pub(super) fn open(
        volumes: &'m Volumes<'m>,
        entry: &BootEntry,
        kernel: &DiskPath,
        limits: &Limits,
    ) -> Result<Self> {
        let title = &entry.title;
        let whole = |role, path: &DiskPath| {
            let length = volumes.length(path).map_err(|source| unreadable(role, title, path, source))?;
            Ok(BootFile::new(volumes, path.clone(), 0..length))
        };
        let (kernel, initrds) = if entry.source == BootSource::UnifiedKernel {
            let sections = unified::sections(volumes, kernel).unwrap_or_default();
            let part = |section: unified::Section| BootFile::new(volumes, kernel.clone(), section.range());
            let initrds = [sections.microcode, sections.initrd].into_iter().flatten().map(part).collect();
            (part(sections.linux.unwrap_or_default()), initrds)
        } else {
            let initrds = entry.initrds.iter().map(|path| whole("initrd", path)).collect::<Result<Vec<_>>>()?;
            (whole("kernel", kernel)?, initrds)
        };
        let mut kernel = kernel;
        let system = xen::foreign_system(&mut kernel);
        let path = kernel.path().clone();
        let system =
            system.map_err(|source| unreadable("kernel", title, &path, kernel.take_failure().unwrap_or(source)))?;
        if let Some(system) = system {
            let what = format!(
                "boot entry {title:?} cannot be booted: {path} is {system} for paravirtual machines of Xen, not Linux"
            );
            return Err(Error::new(ErrorKind::NotBootable, what)
                .with_remedy("choose another entry, or give the kernel explicitly with Boot::kernel"));
        }
        within(kernel.length(), limits.kernel).map_err(|source| unreadable("kernel", title, kernel.path(), source))?;
        let initrd = (!initrds.is_empty()).then(|| Initrd::new(initrds));
        Ok(Self { title: title.clone(), kernel, initrd, command_line: entry.command_line.clone() })
    }

    /// Reads everything into memory.
    pub(super) fn read(mut self, limits: &Limits) -> Result<BootFiles> {
        if let Some(initrd) = &self.initrd {
            initrd.check(limits.initrd).map_err(|(path, source)| unreadable("initrd", &self.title, &path, source))?;
        }
        let kernel = read_all(&mut self.kernel, limits.kernel);
        let kernel = kernel.map_err(|source| self.failure("kernel", source))?;
        let initrd = self.initrd.as_mut().map(|initrd| read_all(initrd, limits.initrd)).transpose();
        let initrd = initrd.map_err(|source| self.failure("initrd", source))?;
        Ok(BootFiles { kernel, initrd, command_line: self.command_line })
    }

    /// Why reading the disk failed, if it did; the code that reads kernel and initrd does not pass the reason on.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        if let Some(source) = self.kernel.take_failure() {
            return Some(unreadable("kernel", &self.title, self.kernel.path(), source));
        }
        let (path, source) = self.initrd.as_mut()?.take_failure()?;
        Some(unreadable("initrd", &self.title, &path, source))
    }

    fn failure(&mut self, role: &str, source: io::Error) -> Error {
        self.take_failure().unwrap_or_else(|| unreadable(role, &self.title, self.kernel.path(), source))
    }
}

/// Reads a file of at most `length` bytes; the caller has checked the length.
fn read_all(file: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The error for an unreadable file of an entry.
fn unreadable(role: &str, title: &str, path: &DiskPath, source: io::Error) -> Error {
    if let Some(inside) = Error::inside(&source).filter(|inside| inside.kind() == ErrorKind::Cancelled) {
        return Error::new(ErrorKind::Cancelled, inside.message());
    }
    let (kind, remedy) = match source.kind() {
        io::ErrorKind::QuotaExceeded => {
            (ErrorKind::LimitExceeded, "check the file system in the guest, or choose another boot entry")
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            (ErrorKind::NotFound, "choose another boot entry, or repair the guest's boot configuration")
        }
        io::ErrorKind::FileTooLarge => (ErrorKind::InvalidKernel, "raise the limit, or choose another boot entry"),
        io::ErrorKind::OutOfMemory => (ErrorKind::OutOfMemory, "free memory on the host"),
        io::ErrorKind::Unsupported => {
            (ErrorKind::UnsupportedImage, "choose another boot entry, or give the kernel explicitly with Boot::kernel")
        }
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            (ErrorKind::CorruptImage, "check the file system in the guest, or choose another boot entry")
        }
        _ => (ErrorKind::Io, "check the disk image"),
    };
    Error::new(kind, format!("cannot read the {role} {path} of boot entry {title:?}"))
        .because(source)
        .with_remedy(remedy)
}
