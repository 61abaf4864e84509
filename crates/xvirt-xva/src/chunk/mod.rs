//! Disk contents inside an archive: chunks, each followed by its checksum.
//!
//! `name` parses the names of members, and `role` tells chunks from what merely stands where one belongs. `layout`
//! computes the positions of chunks, and `checksum` checks them.

use crate::tar::BLOCK;

mod checksum;
mod layout;
mod name;
mod role;

pub use checksum::Checksum;
pub(crate) use checksum::Sum;
pub(crate) use layout::{Layout, Place};
pub(crate) use name::{Name, name};
pub(crate) use role::{Misfit, Role};

/// The usual size of a chunk in bytes.
pub(crate) const CHUNK: u64 = 1 << 20;

/// The largest supported chunk. XenServer accepts any size, but all known producers write 1 MiB.
pub(crate) const MAX_CHUNK: u64 = 8 << 20;

/// The size of a chunk with its members: two headers, and the checksum in its own block.
pub(crate) const MEMBER: usize = CHUNK as usize + 3 * BLOCK;
