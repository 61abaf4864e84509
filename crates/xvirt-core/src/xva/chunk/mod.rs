//! The contents of disks inside an archive: chunks with a checksum after each.
//!
//! `name` is how the members are called, `layout` where the bytes of each belong, `checksum` whether they are right.

mod checksum;
mod layout;
mod name;

pub use checksum::Checksum;
pub(super) use checksum::Sum;
pub(super) use layout::{Layout, Place};
pub(super) use name::{Name, name};

/// The size of a chunk in bytes, as everybody writes them.
pub(super) const CHUNK: u64 = 1 << 20;

/// The largest chunk that is read. XenServer takes any size, and nobody writes others than 1 MiB.
pub(super) const MOST_CHUNK: u64 = 8 << 20;
