//! Saved state that has only the memory that has changed since another, on which it is based.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::dirty::DirtyPages;
use super::header::damaged;
use super::memory::MemoryMap;
use super::section::{Kind, Section};
use crate::Result;

/// The most files that one is based on, directly and indirectly.
pub(crate) const MAX_BASES: usize = 16;

/// Identifies a file by the SHA-256 of its header, which has the checksums of everything else.
pub(crate) type Identity = [u8; 32];

/// What a file takes from the one that it is based on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemoryBase {
    /// The [`Identity`] of the other file.
    #[serde(with = "serde_bytes")]
    identity: Vec<u8>,
    /// A bit for each page as in the memory map: it is as in the other file.
    #[serde(with = "serde_bytes")]
    inherited: Vec<u8>,
}

impl Section for MemoryBase {
    const KIND: Kind = Kind::MemoryBase;
    const VERSION: u32 = 1;
}

impl MemoryBase {
    /// All pages but those that have `changed` are as in the other file.
    pub(crate) fn new(identity: Identity, changed: &DirtyPages) -> Self {
        let mut inherited = vec![0_u8; changed.pages().div_ceil(8) as usize];
        for page in (0..changed.pages()).filter(|page| !changed.contains(*page)) {
            inherited[(page / 8) as usize] |= 1 << (page % 8);
        }
        Self { identity: identity.to_vec(), inherited }
    }

    /// Fails unless it fits the file with this memory, and the file that is based on has this identity.
    pub(super) fn check(&self, map: &MemoryMap, identity: &Identity) -> Result<()> {
        if self.identity != identity {
            return Err(damaged("the saved state that it is based on is another one, or was changed"));
        }
        let both = self.inherited.iter().zip(&map.present).any(|(inherited, present)| inherited & present != 0);
        if self.inherited.len() != map.present.len() || both {
            return Err(damaged("its memory map does not fit what it takes from its base"));
        }
        Ok(())
    }

    /// Whether this page is as in the other file.
    pub(super) fn inherits(&self, page: usize) -> bool {
        self.inherited.get(page / 8).is_some_and(|byte| byte >> (page % 8) & 1 == 1)
    }
}

/// Where the file is that the one at `path` is based on: 1 for directly, 2 for the base of that, and so on.
pub(crate) fn base_path(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("-base-{number}"));
    PathBuf::from(name)
}
