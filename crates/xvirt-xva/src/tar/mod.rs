//! Tar archives, as far as appliances need them: sequential members, in any dialect, without an index.
//!
//! `header` is the header of a member, and `walk` iterates over the members.

mod header;
mod walk;

pub(crate) use header::{BLOCK, file as file_header, is_header};
pub(crate) use walk::{Entry, EntryKind, Walk};
