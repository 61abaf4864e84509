//! The format of saved state: one file that holds a machine and its memory.
//!
//! `docs/snapshot-format.md` describes the format for other implementations. `header` is the plain header that every
//! version reads, `section` the typed bodies behind it, `memory` the pages of the guest. `writer` makes such a file and
//! `reader` reads one; `parallel` divides work on memory between threads. A file can be based on another, its `base`;
//! their `chain` has all memory. A guest can run while its memory is read: `lazy`. `pages` writes pages in any order, for
//! memory that is saved while its guest runs: in the `background`, or in `rounds` over the pages that were written
//! meanwhile. `discard` makes a file invalid that cannot be removed.
//!
//! The file is written from back to front: the header comes last, after everything else is on stable storage. So a file
//! with a valid header is complete.

mod background;
mod base;
mod chain;
mod dirty;
mod discard;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod header;
mod lazy;
#[cfg(test)]
mod lazy_tests;
mod memory;
mod pages;
mod parallel;
mod reader;
mod rounds;
#[cfg(test)]
mod running_tests;
mod section;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use background::BackgroundSave;
pub(crate) use base::{Identity, MAX_BASES, MemoryBase, base_path};
pub(crate) use dirty::DirtyPages;
pub(crate) use discard::{discard, is_discarded};
pub(crate) use lazy::LazyMemory;
pub(crate) use memory::{MemoryRange, PAGE, guest_slices, ranges_of};
pub(crate) use reader::StateReader;
pub(crate) use rounds::Rounds;
pub(crate) use section::{Kind, Section};
pub(crate) use writer::StateWriter;
