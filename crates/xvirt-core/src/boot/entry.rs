//! The entries of a boot menu.

use serde::{Deserialize, Serialize};

use super::volume::{DiskPath, Rewrite};

/// A limit above the length of any kernel's command line, in bytes.
pub(super) const MAX_COMMAND_LINE: usize = 64 << 10;

/// The length limit of a title in bytes.
pub(super) const MAX_TITLE: usize = 4096;

/// A limit above the number of initial RAM disks of any entry.
pub(super) const MAX_INITRDS: usize = 64;

/// The kind of boot configuration that an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BootSource {
    /// GRUB 2's `grub.cfg`, with the loader entries it includes by `blscfg`.
    Grub,
    /// Boot Loader Specification entries in `/loader/entries`, as systemd-boot reads them.
    LoaderEntries,
    /// A unified kernel image in `/EFI/Linux`.
    UnifiedKernel,
    /// `extlinux.conf` or `syslinux.cfg`.
    Extlinux,
    /// `menu.lst` or `grub.conf` of GRUB 0.97.
    GrubLegacy,
    /// No configuration: kernels with their usual file names.
    KernelFiles,
}

/// One entry of a disk's boot menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BootEntry {
    /// The entry's identifier in its configuration, or its title if it has none.
    pub id: String,
    /// The title in the menu.
    pub title: String,
    /// The titles of the submenus around it, outermost first.
    pub submenu: Vec<String>,
    /// The kernel, if the entry starts one.
    pub kernel: Option<DiskPath>,
    /// The initial RAM disks, in load order.
    pub initrds: Vec<DiskPath>,
    /// The kernel command line.
    pub command_line: String,
    /// Whether the disk boots this entry by default.
    pub default: bool,
    /// The configuration that contains it.
    pub source: BootSource,
    /// Why this entry cannot be booted, if so.
    pub not_bootable: Option<String>,
}

impl BootEntry {
    /// An entry without a kernel.
    pub(super) fn new(source: BootSource, id: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            submenu: Vec::new(),
            kernel: None,
            initrds: Vec::new(),
            command_line: String::new(),
            default: false,
            source,
            not_bootable: None,
        }
    }

    /// Sets the kernel command line; an entry with a command line that is too long cannot be booted.
    pub(super) fn set_command_line(&mut self, line: String) {
        if line.len() <= MAX_COMMAND_LINE {
            self.command_line = line;
        } else {
            self.not_bootable.get_or_insert_with(|| "its kernel command line is too long".into());
        }
    }

    /// Whether it can be booted, judging by its configuration.
    pub fn is_bootable(&self) -> bool {
        self.not_bootable.is_none() && self.kernel.is_some()
    }
}

/// Selects an entry of a boot menu.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntryChoice {
    /// The default entry of the disk.
    #[default]
    Default,
    /// By index in [`BootMenu::entries`](super::BootMenu::entries), from 0.
    Index(usize),
    /// By its title.
    Title(String),
    /// By its identifier.
    Id(String),
}

/// The files and the command line to start a kernel with.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BootFiles {
    /// The kernel image.
    #[serde(with = "serde_bytes")]
    pub kernel: Vec<u8>,
    /// The initial RAM disks, concatenated.
    #[serde(with = "serde_bytes")]
    pub initrd: Option<Vec<u8>>,
    /// The kernel command line.
    pub command_line: String,
}

impl std::fmt::Debug for BootFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BootFiles")
            .field("kernel", &format_args!("{} bytes", self.kernel.len()))
            .field("initrd", &format_args!("{} bytes", self.initrd.as_ref().map_or(0, Vec::len)))
            .field("command_line", &self.command_line)
            .finish()
    }
}

/// The entries of a configuration, and its default.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: Vec<BootEntry>,
    pub(super) default: Option<usize>,
    /// The command on which the default depends, if that command is not known here.
    pub(super) unknown_default: Option<String>,
    /// What the boot loader writes to the disk when it starts each entry.
    pub(super) writes: Vec<Vec<Rewrite>>,
}

impl Found {
    /// Whether any entry can be booted.
    pub(super) fn is_bootable(&self) -> bool {
        self.entries.iter().any(BootEntry::is_bootable)
    }
}
