//! What a VM boots: an entry of its disk's boot menu, or a given kernel.

use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::boot::EntryChoice;
use crate::descriptor::Descriptor;

/// What a VM boots.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Boot {
    /// Reads the boot loader configuration on a disk and loads the kernel that it names, at every start and reboot. What
    /// GRUB would write into its environment block then is written to the disk, if it can be written.
    Disk {
        /// The index of the disk in the configuration, from 0.
        #[serde(default)]
        disk: usize,
        /// The entry of the boot menu.
        #[serde(default)]
        entry: EntryChoice,
        /// Appended to the entry's command line.
        #[serde(default)]
        append: String,
    },
    /// Loads a given kernel.
    Kernel {
        /// A bzImage or an ELF image.
        kernel: BootFile,
        /// The initial RAM disk.
        #[serde(default)]
        initrd: Option<BootFile>,
        /// The kernel's command line.
        #[serde(default)]
        command_line: String,
        /// How to enter the kernel.
        #[serde(default)]
        protocol: EntryProtocol,
    },
}

impl Default for Boot {
    fn default() -> Self {
        Self::from_disk()
    }
}

impl Boot {
    /// Boots the first disk with the default entry of its boot menu.
    pub fn from_disk() -> Self {
        Self::Disk { disk: 0, entry: EntryChoice::default(), append: String::new() }
    }

    /// Boots `kernel`: a path, an image in memory, or an open file.
    pub fn kernel(kernel: impl Into<BootFile>) -> Self {
        Self::Kernel { kernel: kernel.into(), initrd: None, command_line: String::new(), protocol: EntryProtocol::Auto }
    }

    /// Selects an entry of the disk's boot menu. Has no effect for a given kernel.
    #[must_use]
    pub fn entry(mut self, choice: EntryChoice) -> Self {
        if let Self::Disk { entry, .. } = &mut self {
            *entry = choice;
        }
        self
    }

    /// Sets the initial RAM disk of a given kernel: a path, an image in memory, or an open file. Has no effect when
    /// booting from a disk, whose boot menu names its own.
    #[must_use]
    pub fn initrd(mut self, image: impl Into<BootFile>) -> Self {
        if let Self::Kernel { initrd, .. } = &mut self {
            *initrd = Some(image.into());
        }
        self
    }

    /// Sets the command line of a given kernel, or the text appended to the one found on the disk.
    #[must_use]
    pub fn command_line(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Self::Kernel { command_line, .. } => *command_line = text.into(),
            Self::Disk { append, .. } => *append = text.into(),
        }
        self
    }

    /// Sets the boot protocol of a given kernel.
    #[must_use]
    pub fn protocol(mut self, choice: EntryProtocol) -> Self {
        if let Self::Kernel { protocol, .. } = &mut self {
            *protocol = choice;
        }
        self
    }
}

/// The boot protocol by which a kernel is entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntryProtocol {
    /// PVH if an ELF image supports it, otherwise Linux's 64-bit protocol.
    #[default]
    Auto,
    /// PVH: 32-bit, for ELF images with the PVH note.
    Pvh,
    /// Linux's 64-bit boot protocol.
    Linux64,
}

/// The location of a kernel or an initial RAM disk.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BootFile {
    /// In a file, read at every start and reboot.
    Path(PathBuf),
    /// In memory.
    #[serde(skip)]
    Bytes(Arc<[u8]>),
    /// An open regular file, read from its beginning at every start and reboot. The offset of the descriptor is neither
    /// used nor changed. A start fails with [`InvalidConfig`](crate::ErrorKind::InvalidConfig) if it is not a regular
    /// file, or not open for reading.
    #[serde(skip)]
    Descriptor(Descriptor),
}

impl fmt::Debug for BootFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Bytes(bytes) => write!(f, "{} bytes in memory", bytes.len()),
            Self::Descriptor(descriptor) => f.write_str(&descriptor.name()),
        }
    }
}

impl From<PathBuf> for BootFile {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&std::path::Path> for BootFile {
    fn from(path: &std::path::Path) -> Self {
        Self::Path(path.into())
    }
}

impl From<&PathBuf> for BootFile {
    fn from(path: &PathBuf) -> Self {
        Self::Path(path.clone())
    }
}

impl From<String> for BootFile {
    fn from(path: String) -> Self {
        Self::Path(path.into())
    }
}

impl From<&String> for BootFile {
    fn from(path: &String) -> Self {
        Self::Path(path.into())
    }
}

impl From<&str> for BootFile {
    fn from(path: &str) -> Self {
        Self::Path(path.into())
    }
}

impl From<&[u8]> for BootFile {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for BootFile {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<OwnedFd> for BootFile {
    fn from(descriptor: OwnedFd) -> Self {
        Self::Descriptor(descriptor.into())
    }
}

impl From<File> for BootFile {
    fn from(file: File) -> Self {
        Self::Descriptor(file.into())
    }
}
