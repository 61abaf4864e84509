//! Replays the journal of ext3 and ext4 in memory, so that the disk of a VM that was stopped hard reads as after a
//! mount.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::Ext;
use crate::boot::filesystem::corrupt;
use crate::boot::window::be32;

const MAGIC: u32 = 0xc03b_3998;

/// Types of journal blocks.
mod kind {
    pub(super) const DESCRIPTOR: u32 = 1;
    pub(super) const COMMIT: u32 = 2;
    pub(super) const SUPERBLOCK_1: u32 = 3;
    pub(super) const SUPERBLOCK_2: u32 = 4;
    pub(super) const REVOCATION: u32 = 5;
}

/// Features that change the layout.
mod feature {
    pub(super) const BITS64: u32 = 0x2;
    pub(super) const CHECKSUM_2: u32 = 0x8;
    pub(super) const CHECKSUM_3: u32 = 0x10;
    pub(super) const FAST_COMMIT: u32 = 0x20;
    pub(super) const KNOWN: u32 = 0x3f;
}

/// Flags of a block tag.
mod tag {
    /// The first four bytes of the block equal the journal's magic number and were replaced with zeroes.
    pub(super) const ESCAPED: u32 = 1;
    pub(super) const SAME_UUID: u32 = 2;
    pub(super) const LAST: u32 = 8;
}

/// A limit above the journal size of any file system that mkfs creates, in blocks.
const MAX_BLOCKS: u32 = 1 << 18;

/// How much a journal block counts against the disk's read budget: more than it takes in memory.
const COST: u64 = 1024;

/// Blocks of the file system whose newest contents are in the journal.
#[derive(Debug, Default)]
pub(super) struct Overlay(BTreeMap<u64, Copy>);

#[derive(Clone, Copy, Debug)]
struct Copy {
    /// The block of the file system that contains it.
    at: u64,
    escaped: bool,
}

/// The blocks of a journal that are for fast commits, and the number of the transaction that these would become.
#[derive(Debug, Default)]
pub(super) struct FastArea {
    pub(super) blocks: Vec<u64>,
    pub(super) sequence: u32,
}

impl Overlay {
    /// Reads the journal in inode `number`.
    pub(super) fn read(ext: &Ext<'_>, number: u32) -> io::Result<(Self, FastArea)> {
        let inode = ext.inode(number)?;
        let mut journal = Journal { ext, blocks: Vec::new(), first: 1, features: 0 };
        let superblock = {
            let mut bytes = vec![0; 1024];
            ext.read_inode(&inode, &mut bytes)?;
            bytes
        };
        let block_size = u64::from(be32(&superblock, 12));
        let is_superblock = matches!(be32(&superblock, 4), kind::SUPERBLOCK_1 | kind::SUPERBLOCK_2);
        if be32(&superblock, 0) != MAGIC || !is_superblock || block_size != ext.block_size() {
            return Err(corrupt("the journal of the ext file system is damaged"));
        }
        if be32(&superblock, 4) == kind::SUPERBLOCK_2 {
            journal.features = be32(&superblock, 40);
        }
        if journal.features & !feature::KNOWN != 0 {
            return Err(super::unsupported("the journal of the ext file system has unsupported features"));
        }
        let start = be32(&superblock, 28);
        if start == 0 {
            return Ok(Default::default());
        }
        let whole = be32(&superblock, 16);
        let mut length = whole;
        if journal.features & feature::FAST_COMMIT != 0 {
            // The end is for fast commits.
            let fast = Some(be32(&superblock, 0x54)).filter(|blocks| *blocks != 0).unwrap_or(256);
            length = length.saturating_sub(fast);
        }
        journal.first = be32(&superblock, 20);
        if whole > MAX_BLOCKS || start >= length || journal.first >= length {
            return Err(corrupt("the journal of the ext file system is damaged"));
        }
        for run in super::map::runs(ext, &inode, 0..u64::from(whole) * block_size)? {
            journal.blocks.resize(run.logical as usize, 0);
            journal.blocks.extend(run.physical..run.physical + run.count);
        }
        let mut fast = journal.blocks.split_off(journal.blocks.len().min(length as usize));
        // The first block after the log is not used.
        let blocks = fast.drain(..).skip(1).collect();
        let (writes, sequence) = journal.replay(start, be32(&superblock, 24))?;
        Ok((Self(writes), FastArea { blocks, sequence }))
    }

    /// Overwrites data read from byte `start` of the file system with newer contents from the journal.
    pub(super) fn apply(&self, ext: &Ext<'_>, start: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let size = ext.block_size();
        let end = start + buffer.len() as u64;
        for (block, copy) in self.0.range(start / size..end.div_ceil(size)) {
            let mut bytes = vec![0; size as usize];
            ext.read_raw(copy.at, &mut bytes)?;
            if copy.escaped {
                bytes[..4].copy_from_slice(&MAGIC.to_be_bytes());
            }
            let (from, to) = ((block * size).max(start), ((block + 1) * size).min(end));
            let source = bytes.get((from - block * size) as usize..(to - block * size) as usize).unwrap_or_default();
            let target = buffer.get_mut((from - start) as usize..(to - start) as usize).unwrap_or_default();
            target.copy_from_slice(source);
        }
        Ok(())
    }
}

struct Journal<'e, 'd> {
    ext: &'e Ext<'d>,
    /// The location of each journal block.
    blocks: Vec<u64>,
    /// The first block of the log.
    first: u32,
    features: u32,
}

/// A block written by a transaction.
struct Write {
    block: u64,
    copy: Copy,
    sequence: u32,
}

impl Journal<'_, '_> {
    /// Processes all committed transactions. A block with an unexpected sequence number is left over from an earlier
    /// pass of the log. Returns also the number of the transaction that would follow.
    fn replay(&self, start: u32, mut sequence: u32) -> io::Result<(BTreeMap<u64, Copy>, u32)> {
        let (mut committed, mut pending): (Vec<Write>, Vec<Write>) = (Vec::new(), Vec::new());
        let (mut revoked, mut revoking) = (HashMap::new(), Vec::new());
        let mut at = start;
        let mut left = self.blocks.len();
        while left > 0 {
            left -= 1;
            let block = self.block(at)?;
            if be32(&block, 0) != MAGIC || be32(&block, 8) != sequence {
                break;
            }
            at = self.after(at);
            match be32(&block, 4) {
                kind::DESCRIPTOR => {
                    for (target, escaped) in self.tags(&block) {
                        self.ext.charge(COST)?;
                        if let Some(place) = self.blocks.get(at as usize) {
                            pending.push(Write { block: target, copy: Copy { at: *place, escaped }, sequence });
                        }
                        at = self.after(at);
                        left = left.saturating_sub(1);
                    }
                }
                kind::REVOCATION => {
                    let blocks = self.revoked(&block);
                    self.ext.charge(COST * blocks.len() as u64)?;
                    revoking.extend(blocks);
                }
                kind::COMMIT => {
                    committed.append(&mut pending);
                    for block in revoking.drain(..) {
                        revoked.insert(block, sequence);
                    }
                    sequence = sequence.wrapping_add(1);
                }
                _ => break,
            }
        }
        // A revoked block was reused, so only later writes to it count. Sequence numbers wrap.
        let counts = |write: &Write| {
            revoked.get(&write.block).is_none_or(|revoked: &u32| (write.sequence.wrapping_sub(*revoked) as i32) > 0)
        };
        let writes = committed.into_iter().filter(counts).map(|write| (write.block, write.copy));
        Ok((writes.collect(), sequence))
    }

    fn block(&self, at: u32) -> io::Result<Vec<u8>> {
        let place =
            self.blocks.get(at as usize).ok_or_else(|| corrupt("the journal of the ext file system is cut short"))?;
        let mut bytes = vec![0; self.ext.block_size() as usize];
        self.ext.read_raw(*place, &mut bytes)?;
        Ok(bytes)
    }

    /// The next block of the log, which is a ring.
    fn after(&self, at: u32) -> u32 {
        if at as usize + 1 < self.blocks.len() { at + 1 } else { self.first }
    }

    /// The target blocks of a descriptor block, and whether their start was escaped.
    fn tags(&self, descriptor: &[u8]) -> Vec<(u64, bool)> {
        let bits64 = self.features & feature::BITS64 != 0;
        let checksum_3 = self.features & feature::CHECKSUM_3 != 0;
        let checksum_2 = self.features & feature::CHECKSUM_2 != 0;
        let (size, high_at) = match (checksum_3, checksum_2, bits64) {
            (true, _, _) => (16, 8),
            (false, false, false) => (8, 8),
            (false, true, false) => (10, 8),
            (false, false, true) => (12, 8),
            (false, true, true) => (14, 8),
        };
        let tail = if checksum_2 || checksum_3 { 4 } else { 0 };
        let mut rest = descriptor.get(12..descriptor.len() - tail).unwrap_or_default();
        let mut tags = Vec::new();
        while let Some(bytes) = rest.get(..size) {
            let flags = if checksum_3 { be32(bytes, 4) } else { be32(bytes, 4) & 0xffff };
            let high = if bits64 { u64::from(be32(bytes, high_at)) << 32 } else { 0 };
            tags.push((u64::from(be32(bytes, 0)) | high, flags & tag::ESCAPED != 0));
            let uuid = if flags & tag::SAME_UUID == 0 { 16 } else { 0 };
            if flags & tag::LAST != 0 {
                break;
            }
            rest = rest.get(size + uuid..).unwrap_or_default();
        }
        tags
    }

    fn revoked(&self, block: &[u8]) -> Vec<u64> {
        let end = block.len().min(be32(block, 12) as usize);
        let numbers = block.get(16..end).unwrap_or_default();
        if self.features & feature::BITS64 != 0 {
            let number = |bytes: &[u8]| u64::from(be32(bytes, 0)) << 32 | u64::from(be32(bytes, 4));
            numbers.chunks_exact(8).map(number).collect()
        } else {
            numbers.chunks_exact(4).map(|bytes| be32(bytes, 0).into()).collect()
        }
    }
}
