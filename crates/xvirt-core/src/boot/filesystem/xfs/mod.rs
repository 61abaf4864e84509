//! XFS, the file system of `/boot` in RHEL and its derivatives.
//!
//! This file handles the superblock and the blocks. `inode` reads a file's inode, `map` finds its blocks, and
//! `directory` reads directories and symbolic links.
//!
//! The log is not replayed: after a VM was stopped hard, the last changes may be missing.

mod directory;
mod inode;
mod map;

use std::io;

use super::{corrupt, unsupported, until_nul};
use crate::boot::window::{Window, be16, be32, be64};

/// Features of version 5 that readers must support.
mod incompatible {
    pub(super) const FILE_TYPES: u32 = 0x1;
    /// File types, sparse inodes, metadata UUID, big timestamps, needs repair, large extent counts, exchange range,
    /// parent pointers, metadata directory. Only file types and large extent counts matter to readers.
    pub(super) const KNOWN: u32 = 0x1ff;
}

/// The flag of version 4 for file types in directories.
const V4_FILE_TYPES: u32 = 0x200;

/// An XFS file system in a partition.
#[derive(Debug)]
pub(super) struct Xfs<'d> {
    window: Window<'d>,
    uuid: String,
    label: String,
    block_size: u64,
    /// The number of blocks in an allocation group, and the bits of a block number inside the group.
    group_blocks: u64,
    group_bits: u32,
    groups: u64,
    inode_size: usize,
    /// The bits of an inode number inside a block.
    inode_bits: u32,
    root: u64,
    directory_block: usize,
    has_file_types: bool,
    /// Whether metadata has checksums and longer headers.
    is_v5: bool,
}

impl<'d> Xfs<'d> {
    /// Opens the file system, or returns the window if it contains none.
    pub(super) fn open(window: Window<'d>) -> io::Result<Result<Self, Window<'d>>> {
        if window.length() < 512 {
            return Ok(Err(window));
        }
        let sb = window.read_vec(0, 512)?;
        if !sb.starts_with(b"XFSB") {
            return Ok(Err(window));
        }
        let version = be16(&sb, 100) & 0xf;
        let incompatible = if version == 5 { be32(&sb, 216) } else { 0 };
        if !matches!(version, 4 | 5) || incompatible & !incompatible::KNOWN != 0 {
            return Err(unsupported("the XFS file system has unsupported features"));
        }
        let block_size = u64::from(be32(&sb, 4));
        let inode_size = usize::from(be16(&sb, 104));
        let (group_bits, inode_bits, directory_bits) = (sb[124].into(), sb[123].into(), u32::from(sb[192]));
        let xfs = Self {
            uuid: uuid::Uuid::from_slice(&sb[32..48]).unwrap_or_default().to_string(),
            label: until_nul(&sb[108..120]),
            block_size,
            group_blocks: be32(&sb, 84).into(),
            group_bits,
            groups: be32(&sb, 88).into(),
            inode_size,
            inode_bits,
            root: be64(&sb, 56),
            directory_block: usize::try_from(block_size << directory_bits.min(7)).unwrap_or(0),
            has_file_types: match version {
                5 => incompatible & incompatible::FILE_TYPES != 0,
                _ => be32(&sb, 200) & V4_FILE_TYPES != 0,
            },
            is_v5: version == 5,
            window,
        };
        let plausible = block_size.is_power_of_two()
            && (512..=65536).contains(&block_size)
            && inode_size.is_power_of_two()
            && (256..=2048).contains(&inode_size)
            && group_bits <= 31
            && inode_bits <= 8
            && xfs.directory_block <= 65536;
        match plausible {
            true => Ok(Ok(xfs)),
            false => Err(corrupt("the XFS superblock has invalid sizes")),
        }
    }

    fn block_size(&self) -> u64 {
        self.block_size
    }

    /// The position of a block in the partition. The upper bits of a block number are its group.
    fn position(&self, block: u64) -> io::Result<u64> {
        let (group, in_group) = (block >> self.group_bits, block & ((1 << self.group_bits) - 1));
        if group >= self.groups || in_group >= self.group_blocks {
            return Err(corrupt("a block number is outside the XFS"));
        }
        Ok((group * self.group_blocks + in_group).saturating_mul(self.block_size))
    }

    /// Reads from `offset` in a block into `buffer`.
    fn read_blocks(&self, block: u64, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.window.read(self.position(block)?.saturating_add(offset), buffer)
    }
}
