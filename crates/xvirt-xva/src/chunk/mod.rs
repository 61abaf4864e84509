//! The contents of disks inside an archive: chunks with a checksum after each.
//!
//! `name` is how the members are called, `layout` where the bytes of each belong, `checksum` whether they are right.

use crate::tar::BLOCK;

mod checksum;
mod layout;
mod name;

pub use checksum::Checksum;
pub(crate) use checksum::Sum;
pub(crate) use layout::{Layout, Place};
pub(crate) use name::{Name, name};

/// The size of a chunk in bytes, as everybody writes them.
pub(crate) const CHUNK: u64 = 1 << 20;

/// The largest chunk that is read. XenServer takes any size, and nobody writes others than 1 MiB.
pub(crate) const MAX_CHUNK: u64 = 8 << 20;

/// The room for a chunk with everything around it: two headers, and the checksum in a block of its own.
pub(crate) const MEMBER: usize = CHUNK as usize + 3 * BLOCK;
