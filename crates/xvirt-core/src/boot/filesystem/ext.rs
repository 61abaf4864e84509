//! ext2, ext3 and ext4: superblock, inodes, directories, symbolic links.

use std::io;
use std::ops::Range;

use super::ext_journal::Overlay;
use super::ext_map;
use super::run::{Run, read_runs};
use super::tree::{NodeKind, Tree};
use super::{MAX_DIRECTORY, corrupt, unsupported, until_nul};
use crate::boot::window::{Window, le16, le32};

/// Features a reader has to know. Those that only writers, or names compared without case, need are passed over.
mod incompatible {
    pub(super) const COMPRESSION: u32 = 0x1;
    pub(super) const RECOVER: u32 = 0x4;
    pub(super) const JOURNAL_DEVICE: u32 = 0x8;
    pub(super) const META_BG: u32 = 0x10;
    pub(super) const BITS64: u32 = 0x80;
    pub(super) const DIRDATA: u32 = 0x1000;
    /// All that have a meaning at the time of writing.
    pub(super) const KNOWN: u32 = 0x3_f7df;
}

const INODE_ENCRYPTED: u32 = 0x800;
const INODE_EXTENTS: u32 = 0x8_0000;
const INODE_INLINE_DATA: u32 = 0x1000_0000;

const ROOT: u32 = 2;

const MAX_TARGET: u64 = 4096;

/// An ext file system in a partition.
#[derive(Debug)]
pub(super) struct Ext<'d> {
    window: Window<'d>,
    uuid: String,
    label: String,
    block_size: u64,
    blocks: u64,
    inode_size: u64,
    inodes_per_group: u32,
    inodes: u32,
    descriptors: Descriptors,
    /// What the journal says otherwise than the blocks themselves.
    overlay: Overlay,
}

/// Where group descriptors lie.
#[derive(Debug)]
struct Descriptors {
    size: u64,
    first_data_block: u64,
    blocks_per_group: u64,
    /// The first block of descriptors that lies in its own group, as `meta_bg` has it.
    first_meta_block: Option<u64>,
}

/// The parts of an inode that reading needs.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    mode: u16,
    flags: u32,
    pub(super) length: u64,
    /// The root of the block map, or a short symbolic link's target.
    pub(super) map: [u8; 60],
}

impl Inode {
    fn kind(&self) -> NodeKind {
        match self.mode & 0xf000 {
            0x8000 => NodeKind::File,
            0x4000 => NodeKind::Directory,
            0xa000 => NodeKind::Link,
            _ => NodeKind::Special,
        }
    }

    pub(super) fn has_extents(&self) -> bool {
        self.flags & INODE_EXTENTS != 0
    }
}

impl<'d> Ext<'d> {
    /// Opens the file system; gives the window back where there is none.
    pub(super) fn open(window: Window<'d>) -> io::Result<Result<Self, Window<'d>>> {
        if window.length() < 2048 {
            return Ok(Err(window));
        }
        let sb = window.read_vec(1024, 1024)?;
        if le16(&sb, 0x38) != 0xef53 {
            return Ok(Err(window));
        }
        let features = le32(&sb, 0x60);
        let refused = incompatible::COMPRESSION | incompatible::JOURNAL_DEVICE | incompatible::DIRDATA;
        if features & (refused | !incompatible::KNOWN) != 0 {
            return Err(unsupported(format!(
                "the ext file system has features that are not read here ({features:#x})"
            )));
        }
        let log_block_size = le32(&sb, 0x18);
        if log_block_size > 6 {
            return Err(corrupt("the ext superblock has an impossible block size"));
        }
        let dynamic = le32(&sb, 0x4c) >= 1;
        let bits64 = features & incompatible::BITS64 != 0;
        let block_size = 1024 << log_block_size;
        let high_blocks = if bits64 { u64::from(le32(&sb, 0x150)) << 32 } else { 0 };
        let mut ext = Self {
            uuid: uuid::Uuid::from_slice(&sb[0x68..0x78]).unwrap_or_default().to_string(),
            label: until_nul(&sb[0x78..0x88]),
            block_size,
            blocks: (u64::from(le32(&sb, 0x4)) | high_blocks).min(window.length() / block_size),
            inode_size: if dynamic { le16(&sb, 0x58).into() } else { 128 },
            inodes_per_group: le32(&sb, 0x28),
            inodes: le32(&sb, 0),
            descriptors: Descriptors {
                size: if bits64 { le16(&sb, 0xfe).into() } else { 32 },
                first_data_block: le32(&sb, 0x14).into(),
                blocks_per_group: le32(&sb, 0x20).into(),
                first_meta_block: (features & incompatible::META_BG != 0).then(|| le32(&sb, 0x104).into()),
            },
            overlay: Overlay::default(),
            window,
        };
        let inode_fits = (128..=block_size).contains(&ext.inode_size);
        let descriptor_fits = (32..=1024).contains(&ext.descriptors.size);
        if !inode_fits || !descriptor_fits || ext.inodes_per_group == 0 || ext.descriptors.blocks_per_group == 0 {
            return Err(corrupt("the ext superblock has impossible sizes"));
        }
        if features & incompatible::RECOVER != 0 && le32(&sb, 0xe0) != 0 {
            ext.overlay = Overlay::read(&ext, le32(&sb, 0xe0))?;
        }
        Ok(Ok(ext))
    }

    pub(super) fn block_size(&self) -> u64 {
        self.block_size
    }

    /// Fills `buffer` from `offset` in block `block` on, as the file system is once its journal is replayed.
    pub(super) fn read_blocks(&self, block: u64, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if block == 0 || block >= self.blocks {
            return Err(corrupt("a block number is outside the ext file system"));
        }
        let start = block * self.block_size + offset;
        self.window.read(start, buffer)?;
        self.overlay.apply(self, start, buffer)
    }

    /// Takes from the disk's allowance.
    pub(super) fn charge(&self, bytes: u64) -> io::Result<()> {
        self.window.charge(bytes)
    }

    /// Fills `buffer` from a block on, past the journal.
    pub(super) fn read_raw(&self, block: u64, buffer: &mut [u8]) -> io::Result<()> {
        if block >= self.blocks {
            return Err(corrupt("a block number is outside the ext file system"));
        }
        self.window.read(block * self.block_size, buffer)
    }

    /// Where the descriptor of a group lies, in bytes.
    fn descriptor_offset(&self, group: u64) -> u64 {
        let Descriptors { size, first_data_block, blocks_per_group, first_meta_block } = self.descriptors;
        let per_block = self.block_size / size;
        let table_block = group / per_block;
        let block = match first_meta_block {
            Some(first) if table_block >= first => {
                let holder = table_block * per_block;
                // A copy of the superblock comes first in the groups that have one.
                let group_start = holder.saturating_mul(blocks_per_group).saturating_add(first_data_block);
                group_start.saturating_add(has_superblock(holder).into())
            }
            _ => first_data_block + 1 + table_block,
        };
        block.saturating_mul(self.block_size).saturating_add(group % per_block * size)
    }

    pub(super) fn inode(&self, number: u32) -> io::Result<Inode> {
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
        let mut bytes = [0; 128];
        self.read_blocks(block, offset_in_table % self.block_size, &mut bytes)?;
        let mut map = [0; 60];
        map.copy_from_slice(&bytes[0x28..0x64]);
        let mut inode = Inode { mode: le16(&bytes, 0), flags: le32(&bytes, 0x20), length: le32(&bytes, 4).into(), map };
        // In a directory of ext2 the upper half means something else.
        if inode.kind() == NodeKind::File {
            inode.length |= u64::from(le32(&bytes, 0x6c)) << 32;
        }
        Ok(inode)
    }

    /// Where a range of a file lies, which may go past its end.
    fn inode_runs(&self, inode: &Inode, range: Range<u64>) -> io::Result<Vec<Run>> {
        if inode.flags & INODE_ENCRYPTED != 0 {
            return Err(unsupported("the file is encrypted"));
        }
        if inode.flags & INODE_INLINE_DATA != 0 {
            return Err(unsupported("the file is kept inside its inode, which is not read here"));
        }
        ext_map::runs(self, inode, range)
    }

    /// Fills `buffer` from the start of a file on, also past its end.
    pub(super) fn read_inode(&self, inode: &Inode, buffer: &mut [u8]) -> io::Result<()> {
        let runs = self.inode_runs(inode, 0..buffer.len() as u64)?;
        self.read_runs(&runs, 0, buffer)
    }

    /// All bytes of a small file.
    fn small(&self, inode: &Inode, limit: u64) -> io::Result<Vec<u8>> {
        if inode.length > limit {
            return Err(corrupt("a directory or symbolic link is too large"));
        }
        let mut bytes = vec![0; inode.length as usize];
        self.read_inode(inode, &mut bytes)?;
        Ok(bytes)
    }

    /// The names and inodes of a directory.
    fn entries(&self, directory: &Inode) -> io::Result<Vec<(Vec<u8>, u32)>> {
        let bytes = self.small(directory, MAX_DIRECTORY)?;
        let mut entries = Vec::new();
        // The nodes of a hash tree look like unused entries, so that reading in order finds every name.
        for block in bytes.chunks(self.block_size as usize) {
            let mut rest = block;
            while rest.len() >= 8 {
                let (number, length, name_length) = (le32(rest, 0), le16(rest, 4), usize::from(rest[6]));
                // 64 KiB do not fit the field.
                let length = if length == 0 || length == u16::MAX { rest.len() } else { length.into() };
                if let Some(name) = rest.get(8..8 + name_length).filter(|name| number != 0 && !name.is_empty()) {
                    entries.push((name.to_vec(), number));
                }
                rest = rest.get(length.max(8)..).unwrap_or_default();
            }
        }
        Ok(entries)
    }
}

impl Tree for Ext<'_> {
    type Node = Inode;

    fn uuid(&self) -> &str {
        &self.uuid
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn root(&self) -> io::Result<Inode> {
        self.inode(ROOT)
    }

    fn kind(&self, node: &Inode) -> NodeKind {
        node.kind()
    }

    fn length(&self, node: &Inode) -> u64 {
        node.length
    }

    fn find(&self, directory: &Inode, name: &[u8]) -> io::Result<Option<Inode>> {
        let found = self.entries(directory)?.into_iter().find(|(found, _)| found == name);
        found.map(|(_, number)| self.inode(number)).transpose()
    }

    fn names(&self, directory: &Inode) -> io::Result<Vec<Vec<u8>>> {
        Ok(self.entries(directory)?.into_iter().map(|(name, _)| name).collect())
    }

    fn link_target(&self, link: &Inode) -> io::Result<Vec<u8>> {
        match link.map.get(..link.length as usize).filter(|_| link.length < 60) {
            Some(short) => Ok(short.to_vec()),
            None => self.small(link, MAX_TARGET),
        }
    }

    fn runs(&self, file: &Inode, range: Range<u64>) -> io::Result<Vec<Run>> {
        self.inode_runs(file, range)
    }

    fn read_runs(&self, runs: &[Run], offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let read = |block, offset, part: &mut [u8]| self.read_blocks(block, offset, part);
        read_runs(runs, self.block_size, offset, buffer, &self.window, read)
    }
}

/// Whether a group starts with a copy of the superblock, by the rule of `sparse_super`.
fn has_superblock(group: u64) -> bool {
    group <= 1
        || [3, 5, 7].into_iter().any(|base| {
            std::iter::successors(Some(base), |p| Some(p * base)).take_while(|p| *p <= group).any(|p| p == group)
        })
}
