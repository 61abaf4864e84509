//! The typed bodies of saved state: MessagePack maps, which readers of other minor versions understand.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::header::{damaged, unsupported};
use crate::{Error, ErrorKind, Result};

/// The longest body in bytes. That of the map of a guest's memory grows with it: 64 MiB are enough for 1 TiB.
pub(super) const MAX_BODY: u64 = 64 << 20;

/// The kinds of section. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What the VM was configured as, and when it was saved.
    Description = 1,
    /// Processors, interrupt controllers and clock.
    Processors = 2,
    /// Devices.
    Devices = 3,
    /// Which pages of memory are in the file.
    MemoryMap = 4,
    /// The pages.
    Memory = 5,
    /// What the consoles hold.
    Consoles = 6,
    /// What is taken from the file on which this one is based.
    MemoryBase = 7,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Description,
        Self::Processors,
        Self::Devices,
        Self::MemoryMap,
        Self::Memory,
        Self::Consoles,
        Self::MemoryBase,
    ];

    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Processors => "processors",
            Self::Devices => "devices",
            Self::MemoryMap => "memory map",
            Self::Memory => "memory",
            Self::Consoles => "consoles",
            Self::MemoryBase => "memory base",
        }
    }
}

/// A body of saved state.
///
/// A field that is added later has a default, so that older files are read; readers of this version skip fields that
/// they do not know. A change that they must not skip raises the version.
pub(crate) trait Section: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: Kind;
    /// Its version, which readers have to know.
    const VERSION: u32;
}

/// The bytes of a section's body.
pub(super) fn encode<S: Section>(section: &S) -> Result<Vec<u8>> {
    let name = S::KIND.name();
    let bytes = rmp_serde::to_vec_named(section)
        .map_err(|e| Error::new(ErrorKind::InvalidConfig, format!("cannot encode section '{name}'")).because(e))?;
    if bytes.len() as u64 > MAX_BODY {
        let what = format!("section '{name}' would take {} bytes, and {MAX_BODY} is the limit", bytes.len());
        return Err(Error::new(ErrorKind::LimitExceeded, what));
    }
    Ok(bytes)
}

/// A section from its body, whose checksum is right.
pub(super) fn decode<S: Section>(bytes: &[u8], version: u32) -> Result<S> {
    let name = S::KIND.name();
    if version != S::VERSION {
        let what = format!("section '{name}' has version {version}; this version of xvirt reads {}", S::VERSION);
        return Err(unsupported(what).with_remedy("use a version of xvirt that reads this format"));
    }
    rmp_serde::from_slice(bytes).map_err(|e| damaged(format!("section '{name}' cannot be decoded")).because(e))
}
