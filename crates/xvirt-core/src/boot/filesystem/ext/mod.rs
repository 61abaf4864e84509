//! ext2, ext3 and ext4.
//!
//! This file handles the superblock and the blocks. `inode` finds a file's inode, `map` its blocks, and `directory`
//! reads directories and symbolic links. `journal` provides data that is in the journal but not yet in its place, and
//! `fast_commit` what was written after that; `ranges` are the parts of files that it moved.

mod directory;
mod fast_commit;
mod inode;
mod journal;
mod map;
mod ranges;

use std::io;

use super::{corrupt, unsupported, until_nul};
use crate::boot::window::{Window, le16, le32};

use fast_commit::FastCommits;
use inode::Descriptors;
use journal::Overlay;

/// Features that readers must support. Features that matter only to writers or to case-insensitive lookup are ignored.
mod incompatible {
    const COMPRESSION: u32 = 0x1;
    pub(super) const RECOVER: u32 = 0x4;
    const JOURNAL_DEVICE: u32 = 0x8;
    pub(super) const META_BG: u32 = 0x10;
    pub(super) const BITS64: u32 = 0x80;
    const DIRDATA: u32 = 0x1000;
    /// All features defined at the time of writing.
    const KNOWN: u32 = 0x3_f7df;
    pub(super) const INLINE_DATA: u32 = 0x8000;

    /// The features with which a file system is not read.
    pub(super) const REFUSED: u32 = COMPRESSION | JOURNAL_DEVICE | DIRDATA | !KNOWN;

    /// The refused ones among these features, for an error.
    pub(super) fn names(features: u32) -> String {
        let named = [
            (COMPRESSION, "compressed files (compression)"),
            (JOURNAL_DEVICE, "no files, but the journal of another file system (journal_dev)"),
            (DIRDATA, "data in directory entries (dirdata)"),
        ];
        let mut names: Vec<String> =
            named.into_iter().filter(|(feature, _)| features & feature != 0).map(|(_, name)| name.to_owned()).collect();
        if features & !KNOWN != 0 {
            names.push(format!("features that are not known here ({:#x})", features & !KNOWN));
        }
        names.join(", ")
    }
}

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
    /// The contents of the journal that override the blocks.
    overlay: Overlay,
    /// What was written after the transactions of the journal.
    fast_commits: FastCommits,
    has_inline_data: bool,
}

impl<'d> Ext<'d> {
    /// Opens the file system, or returns the window if it contains none.
    pub(super) fn open(window: Window<'d>) -> io::Result<Result<Self, Window<'d>>> {
        if window.length() < 2048 {
            return Ok(Err(window));
        }
        let sb = window.read_vec(1024, 1024)?;
        if le16(&sb, 0x38) != 0xef53 {
            return Ok(Err(window));
        }
        let features = le32(&sb, 0x60);
        if features & incompatible::REFUSED != 0 {
            return Err(unsupported(format!("the ext file system has {}", incompatible::names(features))));
        }
        let log_block_size = le32(&sb, 0x18);
        if log_block_size > 6 {
            return Err(corrupt("the ext superblock has an invalid block size"));
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
            fast_commits: FastCommits::default(),
            has_inline_data: features & incompatible::INLINE_DATA != 0,
            window,
        };
        let inode_fits = (128..=block_size).contains(&ext.inode_size);
        let descriptor_fits = (32..=1024).contains(&ext.descriptors.size);
        if !inode_fits || !descriptor_fits || ext.inodes_per_group == 0 || ext.descriptors.blocks_per_group == 0 {
            return Err(corrupt("the ext superblock has invalid sizes"));
        }
        if features & incompatible::RECOVER != 0 {
            let journal = le32(&sb, 0xe0);
            if journal == 0 {
                let what = "the ext file system was not unmounted, and its journal, which is on another device, is not applied";
                return Err(unsupported(what));
            }
            let (overlay, fast_area) = Overlay::read(&ext, journal)?;
            ext.overlay = overlay;
            ext.fast_commits = FastCommits::read(&ext, &fast_area)?;
        }
        Ok(Ok(ext))
    }

    fn block_size(&self) -> u64 {
        self.block_size
    }

    /// Reads from `offset` in block `block` into `buffer`, as after a journal replay.
    fn read_blocks(&self, block: u64, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if block == 0 || block >= self.blocks {
            return Err(corrupt("a block number is outside the ext file system"));
        }
        let start = block * self.block_size + offset;
        self.window.read(start, buffer)?;
        self.overlay.apply(self, start, buffer)
    }

    /// Charges the disk's read budget.
    fn charge(&self, bytes: u64) -> io::Result<()> {
        self.window.charge(bytes)
    }

    /// Reads from a block into `buffer`, without the journal.
    fn read_raw(&self, block: u64, buffer: &mut [u8]) -> io::Result<()> {
        if block >= self.blocks {
            return Err(corrupt("a block number is outside the ext file system"));
        }
        self.window.read(block * self.block_size, buffer)
    }

    /// Writes to the start of a block, in whose place `old` must be: not in the journal, from which a replay would bring
    /// back the contents that it has.
    fn write_blocks(&self, block: u64, old: &[u8], bytes: &[u8]) -> io::Result<()> {
        let start = block * self.block_size;
        let mut unlike: Vec<u8> = old.iter().map(|byte| !byte).collect();
        self.overlay.apply(self, start, &mut unlike)?;
        if !self.fast_commits.is_empty()
            || block == 0
            || block >= self.blocks
            || unlike.iter().zip(old).any(|(unlike, old)| *unlike != !old)
        {
            return Err(unsupported("the newest contents of the file are in the journal"));
        }
        self.window.write(start, bytes)
    }
}

#[cfg(test)]
mod tests;
