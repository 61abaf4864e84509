//! XFS, which RHEL and its relatives keep `/boot` in: superblock, inodes, directories, symbolic links.
//!
//! The log is not replayed: what was written just before a VM was stopped hard may be seen as it was before.

use std::io;
use std::ops::Range;

use super::run::{Run, read_runs};
use super::tree::{NodeKind, Tree};
use super::xfs_map;
use super::{MAX_DIRECTORY, corrupt, unsupported, until_nul};
use crate::boot::window::{Window, be16, be32, be64};

/// Features of version 5 that a reader has to know.
mod incompatible {
    pub(super) const FILE_TYPES: u32 = 0x1;
    /// File types, sparse inodes, the UUID of metadata, large times, repair needed, large extent counts, exchange of
    /// ranges, parent pointers, a directory for metadata. Only the first and the large extent counts matter to reading.
    pub(super) const KNOWN: u32 = 0x1ff;
}

/// The flag of version 4 for file types in directories.
const V4_FILE_TYPES: u32 = 0x200;

const INODE_REALTIME: u16 = 0x1;
const INODE_LARGE_COUNTS: u64 = 0x10;

const MAX_TARGET: u64 = 1024;

/// The part of a directory's address space that holds names; what lies higher only helps to find them.
const DIRECTORY_DATA: u64 = 32 << 30;

/// An XFS in a partition.
#[derive(Debug)]
pub(super) struct Xfs<'d> {
    window: Window<'d>,
    uuid: String,
    label: String,
    block_size: u64,
    /// Blocks in an allocation group, and the bits that number them.
    group_blocks: u64,
    group_bits: u32,
    groups: u64,
    inode_size: usize,
    /// The bits that number the inodes of a block.
    inode_bits: u32,
    root: u64,
    directory_block: usize,
    has_file_types: bool,
    /// Whether metadata has checksums and longer headers.
    pub(super) is_v5: bool,
}

/// The parts of an inode that reading needs.
#[derive(Debug)]
pub(super) struct Inode {
    mode: u16,
    flags: u16,
    format: Format,
    pub(super) extents: u64,
    length: u64,
    /// The data fork.
    pub(super) fork: Vec<u8>,
}

/// How the data fork says where the data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Special,
    Local,
    Extents,
    Tree,
}

impl<'d> Xfs<'d> {
    /// Opens the file system; gives the window back where there is none.
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
            return Err(unsupported("the XFS has features that are not read here"));
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
            false => Err(corrupt("the XFS superblock has impossible sizes")),
        }
    }

    pub(super) fn block_size(&self) -> u64 {
        self.block_size
    }

    /// Fills `buffer` from `offset` in a block on. The number of a block has its group in the upper bits.
    pub(super) fn read_blocks(&self, block: u64, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (group, in_group) = (block >> self.group_bits, block & ((1 << self.group_bits) - 1));
        if group >= self.groups || in_group >= self.group_blocks {
            return Err(corrupt("a block number is outside the XFS"));
        }
        let start = (group * self.group_blocks + in_group).saturating_mul(self.block_size).saturating_add(offset);
        self.window.read(start, buffer)
    }

    fn inode(&self, number: u64) -> io::Result<Inode> {
        let in_block = number & ((1 << self.inode_bits) - 1);
        let mut bytes = vec![0; self.inode_size];
        self.read_blocks(number >> self.inode_bits, in_block * self.inode_size as u64, &mut bytes)?;
        if !bytes.starts_with(b"IN") {
            return Err(corrupt("an XFS inode is damaged"));
        }
        let is_v3 = bytes[4] == 3;
        let has_large_counts = is_v3 && be64(&bytes, 120) & INODE_LARGE_COUNTS != 0;
        let start = if is_v3 { 176 } else { 100 };
        let end = match usize::from(bytes[82]) * 8 {
            0 => self.inode_size,
            length => (start + length).min(self.inode_size),
        };
        Ok(Inode {
            mode: be16(&bytes, 2),
            flags: be16(&bytes, 90),
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

    /// Names and inode numbers of a directory.
    fn entries(&self, directory: &Inode) -> io::Result<Vec<(Vec<u8>, u64)>> {
        if directory.format == Format::Local {
            return Ok(self.short_entries(&directory.fork));
        }
        let length = directory.length.min(DIRECTORY_DATA);
        if length > MAX_DIRECTORY {
            return Err(corrupt("a directory is too large"));
        }
        let mut bytes = vec![0; length as usize];
        let runs = self.inode_runs(directory, 0..length)?;
        self.read_runs(&runs, 0, &mut bytes)?;
        let mut entries = Vec::new();
        for block in bytes.chunks_exact(self.directory_block) {
            self.block_entries(block, &mut entries);
        }
        Ok(entries)
    }

    /// A directory that is small enough for its inode.
    fn short_entries(&self, fork: &[u8]) -> Vec<(Vec<u8>, u64)> {
        let [count, wide, ..] = fork else { return Vec::new() };
        let number_size = if *wide == 0 { 4 } else { 8 };
        let mut rest = fork.get(2 + number_size..).unwrap_or_default();
        let mut entries = Vec::new();
        for _ in 0..*count {
            let Some((name_length, _)) = rest.split_first() else { break };
            let name_end = 3 + usize::from(*name_length);
            let number_at = name_end + usize::from(self.has_file_types);
            let (Some(name), Some(number)) = (rest.get(3..name_end), rest.get(number_at..number_at + number_size))
            else {
                break;
            };
            let number = if *wide == 0 { be32(number, 0).into() } else { be64(number, 0) };
            entries.push((name.to_vec(), number));
            rest = rest.get(number_at + number_size..).unwrap_or_default();
        }
        entries
    }

    /// The entries in one block of a larger directory.
    fn block_entries(&self, block: &[u8], entries: &mut Vec<(Vec<u8>, u64)>) {
        let header = if self.is_v5 { 64 } else { 16 };
        let end = match block.get(..4) {
            Some(b"XD2D" | b"XDD3") => block.len(),
            Some(b"XD2B" | b"XDB3") => {
                // An index of the names lies at the end.
                let count = be32(block, block.len() - 8) as usize;
                block.len().saturating_sub(8).saturating_sub(count.saturating_mul(8))
            }
            _ => return,
        };
        let mut rest = block.get(header..end).unwrap_or_default();
        while rest.len() >= 12 {
            let length = if be16(rest, 0) == 0xffff {
                be16(rest, 2).into()
            } else {
                let name_length = usize::from(rest[8]);
                if let Some(name) = rest.get(9..9 + name_length) {
                    entries.push((name.to_vec(), be64(rest, 0)));
                }
                // The number, the length, the name, perhaps the type, and the entry's own place.
                (9 + name_length + usize::from(self.has_file_types) + 2).next_multiple_of(8)
            };
            rest = rest.get(length.max(8)..).unwrap_or_default();
        }
    }

    fn inode_runs(&self, inode: &Inode, range: Range<u64>) -> io::Result<Vec<Run>> {
        if inode.flags & INODE_REALTIME != 0 {
            return Err(unsupported("the file is in the realtime section of the XFS"));
        }
        xfs_map::runs(self, inode, inode.format, range)
    }
}

impl Tree for Xfs<'_> {
    type Node = Inode;

    fn uuid(&self) -> &str {
        &self.uuid
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn root(&self) -> io::Result<Inode> {
        self.inode(self.root)
    }

    fn kind(&self, node: &Inode) -> NodeKind {
        match node.mode & 0xf000 {
            0x8000 => NodeKind::File,
            0x4000 => NodeKind::Directory,
            0xa000 => NodeKind::Link,
            _ => NodeKind::Special,
        }
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
        if link.length > MAX_TARGET {
            return Err(corrupt("a symbolic link is too long"));
        }
        let length = link.length as usize;
        if link.format == Format::Local {
            return Ok(link.fork.get(..length).unwrap_or_default().to_vec());
        }
        let mut target = Vec::new();
        for run in xfs_map::runs(self, link, link.format, 0..2 * MAX_TARGET + self.block_size)? {
            let mut bytes = vec![0; (run.count * self.block_size) as usize];
            self.read_blocks(run.physical, 0, &mut bytes)?;
            // In version 5 a header comes first, except where mkfs.xfs made the link.
            let header = if bytes.starts_with(b"XSLM") { 56 } else { 0 };
            let wanted = length.saturating_sub(target.len()).min(bytes.len() - header);
            target.extend_from_slice(bytes.get(header..header + wanted).unwrap_or_default());
        }
        Ok(target)
    }

    fn runs(&self, file: &Inode, range: Range<u64>) -> io::Result<Vec<Run>> {
        self.inode_runs(file, range)
    }

    fn read_runs(&self, runs: &[Run], offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let read = |block, offset, part: &mut [u8]| self.read_blocks(block, offset, part);
        read_runs(runs, self.block_size, offset, buffer, &self.window, read)
    }
}
