//! Replays ext4's fast commits in memory: what fsync wrote after the last transaction of the journal.
//!
//! They are in an area behind the journal's log, as records that name what changed (Documentation/filesystems/ext4/
//! journal.rst of Linux, and fs/ext4/fast_commit.h). A commit is as long as it takes up to a record with a checksum, and
//! counts only with a valid one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use super::Ext;
use super::inode::{Inode, RAW};
use super::journal::FastArea;
use super::ranges::{Range, Ranges};
use crate::boot::filesystem::{corrupt, unsupported};
use crate::boot::window::{le16, le32};

/// Kinds of records.
mod tag {
    pub(super) const ADD_RANGE: u16 = 1;
    pub(super) const DELETE_RANGE: u16 = 2;
    pub(super) const CREATE: u16 = 3;
    pub(super) const LINK: u16 = 4;
    pub(super) const UNLINK: u16 = 5;
    pub(super) const INODE: u16 = 6;
    pub(super) const PADDING: u16 = 7;
    pub(super) const TAIL: u16 = 8;
    pub(super) const HEAD: u16 = 9;
}

/// The bytes of a record before its contents: kind and length.
const HEADER: usize = 4;

/// The part of an inode that is its block map.
const MAP: std::ops::Range<usize> = 0x28..0x64;

/// How much a record counts against the disk's read budget: more than it takes in memory.
const COST: u64 = 4096;

/// The most bytes of a record's contents that matter: two inode numbers and a name.
const MAX_CONTENTS: usize = 8 + 255;

/// The changes of all valid fast commits.
#[derive(Debug, Default)]
pub(super) struct FastCommits {
    /// New contents of inodes, without their block maps.
    inodes: HashMap<u32, [u8; RAW]>,
    /// New places of parts of files.
    ranges: HashMap<u32, Ranges>,
    /// For each directory the names that now lead to another inode, or to none.
    names: HashMap<u32, BTreeMap<Vec<u8>, Option<u32>>>,
    /// Directories that are new, so that nothing of what is in their blocks counts.
    directories: HashSet<u32>,
}

/// A record: its kind, and its contents as far as they matter.
type Record = (u16, Vec<u8>);

impl FastCommits {
    /// Reads the commits in their area of the journal.
    pub(super) fn read(ext: &Ext<'_>, area: &FastArea) -> io::Result<Self> {
        let mut commits = Self::default();
        let (mut pending, mut checksum) = (Vec::new(), 0);
        for (number, place) in area.blocks.iter().enumerate() {
            let mut block = vec![0; ext.block_size() as usize];
            ext.read_raw(*place, &mut block)?;
            if number == 0 && le16(&block, 0) != tag::HEAD {
                break;
            }
            if !commits.read_block(ext, &block, area.sequence, &mut pending, &mut checksum)? {
                break;
            }
        }
        Ok(commits)
    }

    /// Whether there are none, so that the journal will not move any part of a file.
    pub(super) fn is_empty(&self) -> bool {
        self.inodes.is_empty() && self.ranges.is_empty() && self.names.is_empty()
    }

    /// Reads the records of a block. Returns whether another one may follow: what was cut off by the end of the VM, or is
    /// left over from earlier, is not an error.
    fn read_block(
        &mut self,
        ext: &Ext<'_>,
        block: &[u8],
        sequence: u32,
        pending: &mut Vec<Record>,
        checksum: &mut u32,
    ) -> io::Result<bool> {
        let mut rest = block;
        while rest.len() >= HEADER {
            let (kind, length) = (le16(rest, 0), usize::from(le16(rest, 2)));
            let Some(contents) = rest.get(HEADER..HEADER + length).filter(|_| is_valid(kind, length, ext)) else {
                return Ok(false);
            };
            ext.charge(COST)?;
            let covered = if kind == tag::TAIL { HEADER + 4 } else { HEADER + length };
            *checksum = checksum_of(*checksum, rest.get(..covered).unwrap_or_default());
            match kind {
                tag::HEAD if le32(contents, 0) != 0 => {
                    return Err(unsupported("the ext4 file system has fast commits with unsupported features"));
                }
                tag::HEAD if le32(contents, 4) != sequence => return Ok(false),
                tag::TAIL => {
                    if le32(contents, 0) != sequence || le32(contents, 4) != *checksum {
                        return Ok(false);
                    }
                    *checksum = 0;
                    pending.drain(..).try_for_each(|(kind, contents)| self.apply(ext, kind, &contents))?;
                }
                tag::PADDING => {}
                _ => pending.push((kind, contents.iter().take(MAX_CONTENTS).copied().collect())),
            }
            rest = rest.get(HEADER + length..).unwrap_or_default();
        }
        Ok(true)
    }

    fn apply(&mut self, ext: &Ext<'_>, kind: u16, contents: &[u8]) -> io::Result<()> {
        let inode = le32(contents, 0);
        match kind {
            tag::ADD_RANGE => {
                // An extent, as in the tree of a file.
                let (logical, length) = (le32(contents, 4), le16(contents, 8));
                let physical = u64::from(le32(contents, 12)) | u64::from(le16(contents, 10)) << 32;
                let (physical, count) = match length {
                    0..=32768 => (Some(physical), length),
                    _ => (None, length - 32768),
                };
                self.ranges.entry(inode).or_default().put(Range {
                    logical: logical.into(),
                    count: count.into(),
                    physical,
                });
            }
            tag::DELETE_RANGE => {
                let (logical, count) = (le32(contents, 4).into(), le32(contents, 8).into());
                self.ranges.entry(inode).or_default().put(Range { logical, count, physical: None });
            }
            tag::CREATE | tag::LINK => {
                let child = le32(contents, 4);
                if kind == tag::CREATE && self.is_directory(ext, child)? {
                    self.directories.insert(child);
                }
                self.rename(inode, contents, Some(child));
            }
            tag::UNLINK => self.rename(inode, contents, None),
            tag::INODE => {
                let raw = contents.get(4..).and_then(<[u8]>::first_chunk::<RAW>);
                self.inodes.insert(inode, *raw.ok_or_else(|| corrupt("a fast commit has a short inode"))?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Lets a name in a directory lead to another inode.
    fn rename(&mut self, directory: u32, contents: &[u8], inode: Option<u32>) {
        let name = contents.get(8..).unwrap_or_default().to_vec();
        self.names.entry(directory).or_default().insert(name, inode);
    }

    fn is_directory(&self, ext: &Ext<'_>, number: u32) -> io::Result<bool> {
        let mode = match self.inodes.get(&number) {
            Some(raw) => le16(raw, 0),
            None => le16(&ext.raw_inode(number)?, 0),
        };
        Ok(mode & 0xf000 == 0x4000)
    }

    /// Replaces what is newer in an inode read from its table. The block map stays, and ranges of it are replaced by
    /// [`ranges`](Self::ranges).
    pub(super) fn update(&self, number: u32, inode: &mut [u8; RAW]) {
        let Some(newer) = self.inodes.get(&number) else { return };
        let mut map = [0; MAP.end - MAP.start];
        map.copy_from_slice(&inode[MAP]);
        inode.copy_from_slice(newer);
        if Inode::is_mapped_by_extents(inode) {
            if le16(&map, 0) != super::map::EXTENTS_MAGIC {
                // A new file: an empty tree with room for four extents.
                map = [0; MAP.end - MAP.start];
                map[..2].copy_from_slice(&super::map::EXTENTS_MAGIC.to_le_bytes());
                map[4] = 4;
            }
            inode[MAP].copy_from_slice(&map);
        }
    }

    /// The parts of a file that are elsewhere now.
    pub(super) fn ranges(&self, number: u32) -> Option<&Ranges> {
        self.ranges.get(&number)
    }

    /// The names of a directory that now lead elsewhere.
    pub(super) fn names(&self, directory: u32) -> Option<&BTreeMap<Vec<u8>, Option<u32>>> {
        self.names.get(&directory)
    }

    /// Whether the directory is new, and its blocks were not written.
    pub(super) fn is_new_directory(&self, number: u32) -> bool {
        self.directories.contains(&number)
    }
}

/// Whether a record of this kind can have this length.
fn is_valid(kind: u16, length: usize, ext: &Ext<'_>) -> bool {
    match kind {
        tag::ADD_RANGE => length == 16,
        tag::DELETE_RANGE => length == 12,
        tag::CREATE | tag::LINK | tag::UNLINK => (9..=8 + 255).contains(&length),
        tag::INODE => (4 + RAW..=4 + ext.inode_size as usize).contains(&length),
        tag::TAIL => length >= 8,
        tag::HEAD => length == 8,
        tag::PADDING => true,
        _ => false,
    }
}

/// CRC-32C without its inversions, as ext4 uses it.
pub(super) fn checksum_of(start: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!start, bytes)
}
