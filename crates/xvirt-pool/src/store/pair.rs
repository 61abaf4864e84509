//! What reads return: pairs, and pages of them.

use super::{Cursor, LeaseId, Revision};

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The revision that created the key. A key that was deleted and put again has a new one.
    pub create_revision: Revision,
    /// The revision that put this value.
    pub mod_revision: Revision,
    /// How often the key was put since it was created; the first put is 1.
    pub version: u64,
    /// The lease with whose end the pair is deleted.
    pub lease: Option<LeaseId>,
}

/// A part of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// When this was read. A watch from here sees every change after it.
    pub cursor: Cursor,
    /// The pairs, in the order of their keys.
    pub pairs: Vec<Pair>,
    /// The key at which the next page begins, if there is more.
    pub next: Option<String>,
}
