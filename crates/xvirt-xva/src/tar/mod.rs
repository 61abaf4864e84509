//! Tar archives, as far as appliances need them: members in a row, in any dialect, without an index.
//!
//! `header` is the block before a member, `walk` goes from one to the next.

mod header;
mod walk;

pub(crate) use header::{BLOCK, file as file_header, is_header};
pub(crate) use walk::{Entry, EntryKind, Walk};
