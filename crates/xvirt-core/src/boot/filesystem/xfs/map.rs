//! Block mapping of XFS files: a list of extents, or a B+tree of them.

use std::io;
use std::ops::Range;

use super::Xfs;
use super::inode::{Format, Inode};
use crate::boot::filesystem::corrupt;
use crate::boot::filesystem::run::Run;
use crate::boot::window::{be16, be64};

/// The depth limit of the tree; XFS does not create deeper ones.
const MAX_DEPTH: u16 = 9;

/// The runs of a file in a range, in order; gaps between them are zeroes.
///
/// The caller limits the end of the range, which bounds the work, and its length, which bounds the memory.
pub(super) fn runs(xfs: &Xfs<'_>, inode: &Inode, format: Format, range: Range<u64>) -> io::Result<Vec<Run>> {
    let (first, blocks) = (range.start / xfs.block_size(), range.end.div_ceil(xfs.block_size()));
    let mut map = Map { xfs, first, blocks, next: 0, runs: Vec::new() };
    match format {
        Format::Extents => {
            let count = usize::try_from(inode.extents).unwrap_or(usize::MAX);
            map.leaf(&inode.fork, count)?;
        }
        Format::Tree => {
            let (level, count) = (be16(&inode.fork, 0), be16(&inode.fork, 2));
            let room = inode.fork.len().saturating_sub(4) / 16;
            map.node(inode.fork.get(4..).unwrap_or_default(), level, count.into(), room)?;
        }
        Format::Local | Format::Special => return Err(corrupt("an XFS file has no blocks")),
    }
    Ok(map.runs)
}

struct Map<'x, 'd> {
    xfs: &'x Xfs<'d>,
    /// The first block of the range, and the one after the last.
    first: u64,
    blocks: u64,
    /// The first block of the file that is not mapped yet.
    next: u64,
    runs: Vec<Run>,
}

impl Map<'_, '_> {
    /// Reads extent records of 16 bytes. Returns whether more may follow in the range.
    fn leaf(&mut self, records: &[u8], count: usize) -> io::Result<bool> {
        for record in records.chunks_exact(16).take(count) {
            // 1 bit for unwritten extents, 54 bits for the file offset, 52 for the disk block, and 21 for the length.
            let (high, low) = (be64(record, 0), be64(record, 8));
            let logical = (high & (u64::MAX >> 1)) >> 9;
            let physical = (high & 0x1ff) << 43 | low >> 21;
            let count = low & 0x1f_ffff;
            if logical < self.next || count == 0 {
                return Err(corrupt("the blocks of a file are not in order"));
            }
            if logical >= self.blocks {
                return Ok(false);
            }
            let count = count.min(self.blocks - logical);
            self.next = logical + count;
            if high >> 63 == 0 && self.next > self.first {
                self.runs.push(Run { logical, physical, count });
            }
        }
        Ok(true)
    }

    /// Reads the children of a node with space for `room` keys before the pointers. Returns whether more may follow in
    /// the range.
    fn node(&mut self, node: &[u8], level: u16, count: usize, room: usize) -> io::Result<bool> {
        if level == 0 || level > MAX_DEPTH || count > room {
            return Err(corrupt("a node of an XFS extent tree is damaged"));
        }
        let (magic, header): (&[u8], usize) = if self.xfs.is_v5 { (b"BMA3", 72) } else { (b"BMAP", 24) };
        let pointers = node.get(room * 8..).unwrap_or_default();
        for child in pointers.chunks_exact(8).take(count) {
            let mut block = vec![0; self.xfs.block_size() as usize];
            self.xfs.read_blocks(be64(child, 0), 0, &mut block)?;
            let (child_level, child_count) = (be16(&block, 4), usize::from(be16(&block, 6)));
            if !block.starts_with(magic) || child_level != level - 1 {
                return Err(corrupt("a node of an XFS extent tree is damaged"));
            }
            let records = block.get(header..).unwrap_or_default();
            let progress = self.next;
            let more = match child_level {
                0 => self.leaf(records, child_count)?,
                _ => self.node(records, child_level, child_count, records.len() / 16)?,
            };
            if !more {
                return Ok(false);
            }
            if self.next == progress {
                return Err(corrupt("a node of an XFS extent tree is empty"));
            }
        }
        Ok(true)
    }
}
