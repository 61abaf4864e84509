//! Block mapping: ext4's extent tree, and the indirect blocks of ext2 and ext3.

use std::io;
use std::ops::Range;

use super::Ext;
use super::inode::Inode;
use crate::boot::filesystem::corrupt;
use crate::boot::filesystem::run::Run;
use crate::boot::window::{le16, le32};

/// The first bytes of a node of an extent tree.
pub(super) const EXTENTS_MAGIC: u16 = 0xf30a;

/// The runs of a file in a range, in order; gaps between them are zeroes.
///
/// The caller limits the end of the range, which bounds the work: blocks beyond it are ignored, and blocks out of order
/// are corruption. The length of the range bounds the memory.
pub(super) fn runs(ext: &Ext<'_>, inode: &Inode, range: Range<u64>) -> io::Result<Vec<Run>> {
    let (first, blocks) = (range.start / ext.block_size(), range.end.div_ceil(ext.block_size()));
    let mut map = Map { ext, first, blocks, next: 0, runs: Vec::new() };
    if inode.has_extents() {
        map.extents(&inode.map, None)?;
    } else {
        for slot in 0..12 {
            map.push(map.next, le32(&inode.map, slot * 4).into(), 1)?;
        }
        for (slot, depth) in (12..15).zip(0..) {
            map.indirect(le32(&inode.map, slot * 4), depth)?;
        }
    }
    Ok(map.runs)
}

struct Map<'e, 'd> {
    ext: &'e Ext<'d>,
    /// The first block of the range, and the one after the last.
    first: u64,
    blocks: u64,
    /// The first block of the file that is not mapped yet.
    next: u64,
    runs: Vec<Run>,
}

impl Map<'_, '_> {
    /// Adds blocks, merging them into the previous run if possible. Block 0 means zeroes.
    fn push(&mut self, logical: u64, physical: u64, count: u64) -> io::Result<()> {
        if logical < self.next {
            return Err(corrupt("the blocks of a file are not in order"));
        }
        let count = count.min(self.blocks.saturating_sub(logical));
        self.next = logical + count;
        if physical == 0 || count == 0 || self.next <= self.first {
            return Ok(());
        }
        match self.runs.last_mut() {
            Some(last) if last.logical + last.count == logical && last.physical + last.count == physical => {
                last.count += count;
            }
            _ => self.runs.push(Run { logical, physical, count }),
        }
        Ok(())
    }

    /// Reads a node of the extent tree, whose depth must match `depth`.
    fn extents(&mut self, node: &[u8], depth: Option<u16>) -> io::Result<()> {
        let (magic, count, own_depth) = (le16(node, 0), usize::from(le16(node, 2)), le16(node, 6));
        if magic != EXTENTS_MAGIC || own_depth > 5 || depth.is_some_and(|depth| depth != own_depth) {
            return Err(corrupt("a node of an extent tree is damaged"));
        }
        let mut before = None;
        for entry in node.chunks_exact(12).skip(1).take(count) {
            let logical = u64::from(le32(entry, 0));
            if before.is_some_and(|before| logical <= before) {
                return Err(corrupt("the blocks of a file are not in order"));
            }
            before = Some(logical);
            if logical >= self.blocks {
                break;
            }
            if own_depth == 0 {
                let length = le16(entry, 4);
                let physical = u64::from(le32(entry, 8)) | u64::from(le16(entry, 6)) << 32;
                // A length above 32768 marks an unwritten extent, which reads as zeroes.
                match length {
                    0..=32768 => self.push(logical, physical, length.into())?,
                    _ => self.push(logical, 0, u64::from(length) - 32768)?,
                }
            } else {
                let child = u64::from(le32(entry, 4)) | u64::from(le16(entry, 8)) << 32;
                let progress = self.next;
                let mut bytes = vec![0; self.ext.block_size() as usize];
                self.ext.read_blocks(child, 0, &mut bytes)?;
                self.extents(&bytes, Some(own_depth - 1))?;
                if self.next == progress {
                    // Everything after this is beyond the range.
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads an indirect block, `depth` levels above the data blocks.
    fn indirect(&mut self, block: u32, depth: u32) -> io::Result<()> {
        if self.next >= self.blocks {
            return Ok(());
        }
        let per_block = self.ext.block_size() / 4;
        if block == 0 {
            let hole = per_block.saturating_pow(depth + 1);
            return self.push(self.next, 0, hole);
        }
        let mut bytes = vec![0; self.ext.block_size() as usize];
        self.ext.read_blocks(block.into(), 0, &mut bytes)?;
        for number in bytes.chunks_exact(4).map(|bytes| le32(bytes, 0)) {
            if self.next >= self.blocks {
                break;
            }
            match depth {
                0 => self.push(self.next, number.into(), 1)?,
                _ => self.indirect(number, depth - 1)?,
            }
        }
        Ok(())
    }
}
