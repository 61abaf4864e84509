//! A disk's boot menu.

use std::fmt;
use std::io;

use crate::disk::BlockBackend;
use crate::error::{Error, ErrorKind, Result};

use super::entry::{BootEntry, BootFiles, EntryChoice, Found};
use super::image::{BootImage, Limits};
use super::volume::{DiskPath, Rewrite, Volumes};
use super::{extlinux, grub, kernel_files, legacy, loader_entries};

/// The boot menu of a disk.
///
/// The menu reads from the disk while it exists, so the disk must not be written meanwhile.
pub struct BootMenu<'d> {
    volumes: Volumes<'d>,
    entries: Vec<BootEntry>,
    /// What the boot loader writes when it starts each entry.
    writes: Vec<Vec<Rewrite>>,
    /// The command on which the default depends, if that command is not known here.
    unknown_default: Option<String>,
}

impl fmt::Debug for BootMenu<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootMenu").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl<'d> BootMenu<'d> {
    /// Reads the boot menu of a disk: GRUB's first, then those of other boot loaders, then kernels by their usual
    /// names.
    ///
    /// # Errors
    /// [`NotBootable`](ErrorKind::NotBootable) if there is nothing to boot; the message names what was found.
    /// [`LimitExceeded`](ErrorKind::LimitExceeded) if the disk takes more work than any real one, because its
    /// directories, links or menus lead in circles. [`Cancelled`](ErrorKind::Cancelled) if the caller
    /// [interrupts](crate::progress::interruptible) it.
    pub fn read(disk: &'d dyn BlockBackend) -> Result<Self> {
        Self::of(Volumes::open(disk)?)
    }

    pub(super) fn of(volumes: Volumes<'d>) -> Result<Self> {
        let readers: [fn(&Volumes<'_>) -> Option<Found>; 5] =
            [grub::read, loader_entries::read, extlinux::read, legacy::read, kernel_files::read];
        // A configuration without bootable entries is a fallback, because it shows the reasons.
        let mut second_best = None;
        for read in readers {
            let found = read(&volumes);
            // What was read until then could name another default than the whole.
            volumes.budget().check()?;
            let Some(found) = found else { continue };
            if found.is_bootable() {
                return Ok(Self::new(volumes, found));
            }
            second_best = second_best.or(Some(found));
        }
        match second_best.filter(|found| !found.entries.is_empty()) {
            Some(found) => Ok(Self::new(volumes, found)),
            None => Err(volumes.nothing_to_boot()),
        }
    }

    fn new(volumes: Volumes<'d>, found: Found) -> Self {
        let Found { mut entries, writes, unknown_default, .. } = found;
        let wanted = found.default.filter(|index| entries.get(*index).is_some_and(BootEntry::is_bootable));
        let default = wanted.or_else(|| entries.iter().position(BootEntry::is_bootable));
        // Another entry than the boot loader's would be a wrong one.
        let default = default.filter(|_| unknown_default.is_none());
        if let Some(entry) = default.and_then(|index| entries.get_mut(index)) {
            entry.default = true;
        }
        Self { volumes, entries, writes, unknown_default }
    }

    /// All entries in the order of the menu, including those that cannot be booted.
    pub fn entries(&self) -> &[BootEntry] {
        &self.entries
    }

    /// The default entry; `None` if no entry can be booted, or if the default depends on a command of the boot loader
    /// that is not known here.
    pub fn default_entry(&self) -> Option<&BootEntry> {
        self.entries.iter().find(|entry| entry.default)
    }

    /// The selected entry. It may be one that cannot be booted; then [`load`](Self::load) fails with the reason.
    pub fn entry(&self, choice: &EntryChoice) -> Result<&BootEntry> {
        if let (EntryChoice::Default, Some(command)) = (choice, &self.unknown_default) {
            let what = "the disk's boot menu does not tell its default";
            return Err(Error::new(
                ErrorKind::NotBootable,
                format!("{what}: that depends on GRUB's command {command}, which xvirt does not know"),
            )
            .with_remedy(format!("choose one of its {} entries: {}", self.entries.len(), self.listing())));
        }
        let (found, wanted) = match choice {
            // If no entry can be booted, the first one gives a reason.
            EntryChoice::Default => (self.default_entry().or(self.entries.first()), "a default".to_owned()),
            EntryChoice::Index(index) => (self.entries.get(*index), format!("number {index}")),
            EntryChoice::Title(title) => (self.find(|entry| &entry.title == title), format!("the title {title:?}")),
            EntryChoice::Id(id) => (self.find(|entry| &entry.id == id), format!("the id {id:?}")),
        };
        found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the disk's boot menu has no entry with {wanted}"))
                .with_remedy(format!("choose one of its {} entries: {}", self.entries.len(), self.listing()))
        })
    }

    fn find(&self, is_wanted: impl Fn(&BootEntry) -> bool) -> Option<&BootEntry> {
        self.entries.iter().find(|entry| is_wanted(entry))
    }

    /// The first entries, for an error message.
    fn listing(&self) -> String {
        const SHOWN: usize = 8;
        let show = |(index, entry): (usize, &BootEntry)| format!("{index} {:?} (id {:?})", entry.title, entry.id);
        let mut shown: Vec<_> = self.entries.iter().enumerate().take(SHOWN).map(show).collect();
        if self.entries.len() > SHOWN {
            shown.push("…".into());
        }
        shown.join(", ")
    }

    /// Reads the kernel and initial RAM disks of an entry, with the default limits.
    pub fn load(&self, entry: &BootEntry) -> Result<BootFiles> {
        self.load_within(entry, &Limits::default())
    }

    /// Reads the kernel and initial RAM disks of an entry.
    pub fn load_within(&self, entry: &BootEntry, limits: &Limits) -> Result<BootFiles> {
        self.open(entry, limits)?.read(limits)
    }

    /// Writes to the disk what its boot loader writes when it starts an entry, such as that the entry for the next start
    /// has had its turn. A disk that cannot be written stays as it is.
    pub(crate) fn record_start(&self, entry: &BootEntry) -> Result<()> {
        let index = self.entries.iter().position(|listed| std::ptr::eq(listed, entry));
        let writes = index.and_then(|index| self.writes.get(index)).filter(|_| self.volumes.is_writable());
        // Loading the entry may have used it up.
        self.volumes.budget().renew(0);
        for (file, contents) in writes.into_iter().flatten() {
            match self.volumes.rewrite(file, contents) {
                // GRUB starts the entry all the same if the file has no place of its own.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                written => written.map_err(|source| not_recorded(file, source))?,
            }
        }
        Ok(())
    }

    /// Opens the kernel and initial RAM disks of an entry without reading them; the caller must check the length of the
    /// initrd before it reads. A kernel beyond the limit is an error, and no more than the limits can be read.
    pub(crate) fn open(&self, entry: &BootEntry, limits: &Limits) -> Result<BootImage<'_>> {
        let Some(kernel) = entry.kernel.as_ref().filter(|_| entry.is_bootable()) else {
            let why = entry.not_bootable.as_deref().unwrap_or("it does not start a Linux kernel");
            return Err(Error::new(
                ErrorKind::NotBootable,
                format!("boot entry {:?} cannot be booted: {why}", entry.title),
            )
            .with_remedy("choose another entry, or give the kernel explicitly with Boot::kernel"));
        };
        self.volumes.budget().renew(limits.kernel.saturating_add(limits.initrd));
        BootImage::open(&self.volumes, entry, kernel, limits)
    }
}

fn not_recorded(file: &DiskPath, source: io::Error) -> Error {
    let error = Error::io(format!("cannot write GRUB's environment block {file}"), source);
    match error.remedy() {
        Some(_) => error,
        None => error.with_remedy("check the disk image, or give the kernel explicitly with Boot::kernel"),
    }
}

#[cfg(test)]
mod tests;
