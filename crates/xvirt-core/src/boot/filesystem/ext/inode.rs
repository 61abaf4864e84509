//! Inodes: their location, and the fields needed for reading.

use std::io;
use std::ops::Range;

use super::{Ext, map};
use crate::boot::filesystem::run::Run;
use crate::boot::filesystem::tree::NodeKind;
use crate::boot::filesystem::{corrupt, unsupported};
use crate::boot::window::{le16, le32};

const INODE_IMMUTABLE: u32 = 0x10;
const INODE_ENCRYPTED: u32 = 0x800;
const INODE_VERITY: u32 = 0x10_0000;
const INODE_EXTENTS: u32 = 0x8_0000;
const INODE_INLINE_DATA: u32 = 0x1000_0000;

/// The bytes of an inode with all fields needed for reading.
pub(super) const RAW: usize = 128;

/// The location of group descriptors.
#[derive(Debug)]
pub(super) struct Descriptors {
    pub(super) size: u64,
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u64,
    /// The first block of descriptors in its own group (`meta_bg`).
    pub(super) first_meta_block: Option<u64>,
}

/// The fields of an inode needed for reading.
#[derive(Clone, Debug)]
pub(in crate::boot::filesystem) struct Inode {
    pub(super) number: u32,
    mode: u16,
    flags: u32,
    pub(super) length: u64,
    /// The root of the block map, or the target of a short symbolic link.
    pub(super) map: [u8; 60],
}

impl Inode {
    pub(super) fn kind(&self) -> NodeKind {
        match self.mode & 0xf000 {
            0x8000 => NodeKind::File,
            0x4000 => NodeKind::Directory,
            0xa000 => NodeKind::Link,
            _ => NodeKind::Special,
        }
    }

    /// Fails if the file is immutable, or its blocks are part of a whole that is checked.
    pub(super) fn check_own_blocks(&self) -> io::Result<()> {
        match self.flags & (INODE_IMMUTABLE | INODE_VERITY) {
            0 => Ok(()),
            _ => Err(unsupported("the file is protected against writes")),
        }
    }

    pub(super) fn has_extents(&self) -> bool {
        self.flags & INODE_EXTENTS != 0
    }

    /// Whether an inode has a tree of extents, rather than contents, where its block map is.
    pub(super) fn is_mapped_by_extents(inode: &[u8]) -> bool {
        le32(inode, 0x20) & INODE_EXTENTS != 0
    }
}

impl Ext<'_> {
    /// The offset of a group's descriptor in bytes.
    fn descriptor_offset(&self, group: u64) -> u64 {
        let Descriptors { size, first_data_block, blocks_per_group, first_meta_block } = self.descriptors;
        let per_block = self.block_size / size;
        // The superblock is at byte 1024: in block 1 if blocks are that small, wherever the first data block is.
        let superblock = 1024 / self.block_size;
        let table_block = group / per_block;
        let block = match first_meta_block {
            Some(first) if table_block >= first => {
                let holder = table_block * per_block;
                // The backup superblock comes first in groups that have one.
                let group_start = holder.saturating_mul(blocks_per_group).saturating_add(first_data_block);
                let is_late = holder == 0 && first_data_block < superblock;
                group_start.saturating_add(has_superblock(holder).into()).saturating_add(is_late.into())
            }
            _ => superblock + 1 + table_block,
        };
        block.saturating_mul(self.block_size).saturating_add(group % per_block * size)
    }

    /// The first bytes of an inode.
    pub(super) fn raw_inode(&self, number: u32) -> io::Result<[u8; RAW]> {
        if number == 0 || number > self.inodes {
            return Err(corrupt("an inode number is outside the ext file system"));
        }
        let (group, index) = ((number - 1) / self.inodes_per_group, (number - 1) % self.inodes_per_group);
        let descriptor_offset = self.descriptor_offset(group.into());
        let mut descriptor = vec![0; 64.min(self.descriptors.size as usize)];
        let (block, within) = (descriptor_offset / self.block_size, descriptor_offset % self.block_size);
        self.read_blocks(block, within, &mut descriptor)?;
        let table = u64::from(le32(&descriptor, 0x8)) | u64::from(le32(&descriptor, 0x28)) << 32;
        let offset_in_table = u64::from(index) * self.inode_size;
        let block = table.saturating_add(offset_in_table / self.block_size);
        let mut bytes = [0; RAW];
        self.read_blocks(block, offset_in_table % self.block_size, &mut bytes)?;
        self.fast_commits.update(number, &mut bytes);
        Ok(bytes)
    }

    pub(super) fn inode(&self, number: u32) -> io::Result<Inode> {
        let bytes = self.raw_inode(number)?;
        let mut map = [0; 60];
        map.copy_from_slice(&bytes[0x28..0x64]);
        let (mode, flags) = (le16(&bytes, 0), le32(&bytes, 0x20));
        let mut inode = Inode { number, mode, flags, length: le32(&bytes, 4).into(), map };
        // In an ext2 directory, the upper half has another meaning.
        if inode.kind() == NodeKind::File {
            inode.length |= u64::from(le32(&bytes, 0x6c)) << 32;
        }
        Ok(inode)
    }

    /// The location of a range of a file, which may extend beyond its end.
    pub(super) fn inode_runs(&self, inode: &Inode, range: Range<u64>) -> io::Result<Vec<Run>> {
        if inode.flags & INODE_ENCRYPTED != 0 {
            return Err(unsupported("the file is encrypted"));
        }
        if inode.flags & INODE_INLINE_DATA != 0 {
            return Err(unsupported("the file has inline data, which is not supported"));
        }
        let runs = map::runs(self, inode, range.clone())?;
        let Some(newer) = self.fast_commits.ranges(inode.number) else { return Ok(runs) };
        // Unlike the runs of a block map, these are not read again for each look-up.
        self.charge((newer.len() * size_of::<Run>()) as u64)?;
        Ok(newer.over(&runs, range.start / self.block_size, range.end.div_ceil(self.block_size)))
    }
}

/// Whether a group starts with a backup superblock (`sparse_super`).
fn has_superblock(group: u64) -> bool {
    group <= 1
        || [3, 5, 7].into_iter().any(|base| {
            std::iter::successors(Some(base), |p| Some(p * base)).take_while(|p| *p <= group).any(|p| p == group)
        })
}
