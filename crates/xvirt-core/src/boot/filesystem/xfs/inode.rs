//! Inodes, and their fields needed for reading.

use std::io;
use std::ops::Range;

use super::{Xfs, map};
use crate::boot::filesystem::run::Run;
use crate::boot::filesystem::{corrupt, unsupported};
use crate::boot::window::{be16, be32, be64};

const INODE_REALTIME: u16 = 0x1;
const INODE_IMMUTABLE: u16 = 0x8;
/// The file may share blocks with others.
const INODE_REFLINK: u64 = 0x2;
const INODE_LARGE_COUNTS: u64 = 0x10;

/// The fields of an inode needed for reading.
#[derive(Debug)]
pub(in crate::boot::filesystem) struct Inode {
    pub(super) mode: u16,
    flags: u16,
    /// More flags, in a version 5.
    more_flags: u64,
    pub(super) format: Format,
    pub(super) extents: u64,
    pub(super) length: u64,
    /// The data fork.
    pub(super) fork: Vec<u8>,
}

/// The format of the data fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Special,
    Local,
    Extents,
    Tree,
}

impl Xfs<'_> {
    pub(super) fn inode(&self, number: u64) -> io::Result<Inode> {
        let in_block = number & ((1 << self.inode_bits) - 1);
        let mut bytes = vec![0; self.inode_size];
        self.read_blocks(number >> self.inode_bits, in_block * self.inode_size as u64, &mut bytes)?;
        if !bytes.starts_with(b"IN") {
            return Err(corrupt("an XFS inode is damaged"));
        }
        let is_v3 = bytes[4] == 3;
        let more_flags = if is_v3 { be64(&bytes, 120) } else { 0 };
        let has_large_counts = more_flags & INODE_LARGE_COUNTS != 0;
        let start = if is_v3 { 176 } else { 100 };
        let end = match usize::from(bytes[82]) * 8 {
            0 => self.inode_size,
            length => (start + length).min(self.inode_size),
        };
        Ok(Inode {
            mode: be16(&bytes, 2),
            flags: be16(&bytes, 90),
            more_flags,
            format: match bytes[5] {
                1 => Format::Local,
                2 => Format::Extents,
                3 => Format::Tree,
                _ => Format::Special,
            },
            extents: if has_large_counts { be64(&bytes, 24) } else { be32(&bytes, 76).into() },
            length: be64(&bytes, 56),
            fork: bytes.get(start..end).unwrap_or_default().to_vec(),
        })
    }

    pub(super) fn inode_runs(&self, inode: &Inode, range: Range<u64>) -> io::Result<Vec<Run>> {
        if inode.flags & INODE_REALTIME != 0 {
            return Err(unsupported("the file is in the realtime section of the XFS, which is not supported"));
        }
        map::runs(self, inode, inode.format, range)
    }
}

impl Inode {
    /// Fails if the blocks must not be written in their place.
    pub(super) fn check_own_blocks(&self) -> io::Result<()> {
        if self.flags & INODE_IMMUTABLE != 0 {
            return Err(unsupported("the file is protected against writes"));
        }
        match self.more_flags & INODE_REFLINK {
            0 => Ok(()),
            _ => Err(unsupported("the file shares blocks with another file")),
        }
    }
}
