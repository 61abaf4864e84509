//! Directories and symbolic links.

use std::io;
use std::ops::Range;

use super::inode::{Format, Inode};
use super::{Xfs, map};
use crate::boot::budget::Work;
use crate::boot::filesystem::run::{Run, read_runs};
use crate::boot::filesystem::tree::{NodeKind, Tree, scan_directory};
use crate::boot::filesystem::{MAX_DIRECTORY, MAX_SEARCHED, corrupt};
use crate::boot::window::{Window, be16, be32, be64};

const MAX_TARGET: u64 = 1024;

/// The part of a directory's address space with the entries; the rest contains indices.
const DIRECTORY_DATA: u64 = 32 << 30;

impl Xfs<'_> {
    /// Calls `visit` with the names and inode numbers of a directory of at most `limit` bytes, until it returns
    /// something.
    fn visit<F>(
        &self,
        directory: &Inode,
        limit: u64,
        mut visit: impl FnMut(&[u8], u64) -> Option<F>,
    ) -> io::Result<Option<F>> {
        if directory.format == Format::Local {
            let entries = self.short_entries(&directory.fork);
            self.window.spend(Work::DirectoryEntries, entries.len() as u64)?;
            return Ok(entries.iter().find_map(|(name, number)| visit(name, *number)));
        }
        let length = directory.length.min(DIRECTORY_DATA);
        if length > limit {
            return Err(corrupt("a directory is too large"));
        }
        let runs = self.inode_runs(directory, 0..length)?;
        scan_directory(self, &runs, length, |piece| {
            let mut entries = 0;
            for block in piece.chunks_exact(self.directory_block) {
                let found = self.visit_block(block, &mut entries, &mut visit);
                if found.is_some() {
                    return (entries, found);
                }
            }
            (entries, None)
        })
    }

    /// The entries of a short-form directory, which is stored in its inode.
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

    /// The same for a block of a larger directory; counts the entries.
    fn visit_block<F>(
        &self,
        block: &[u8],
        entries: &mut u64,
        visit: &mut impl FnMut(&[u8], u64) -> Option<F>,
    ) -> Option<F> {
        let header = if self.is_v5 { 64 } else { 16 };
        let end = match block.get(..4) {
            Some(b"XD2D" | b"XDD3") => block.len(),
            Some(b"XD2B" | b"XDB3") => {
                // A hash index of the names is at the end.
                let count = be32(block, block.len() - 8) as usize;
                block.len().saturating_sub(8).saturating_sub(count.saturating_mul(8))
            }
            _ => return None,
        };
        let mut rest = block.get(header..end).unwrap_or_default();
        while rest.len() >= 12 {
            *entries += 1;
            let length = if be16(rest, 0) == 0xffff {
                be16(rest, 2).into()
            } else {
                let name_length = usize::from(rest[8]);
                let found = rest.get(9..9 + name_length).and_then(|name| visit(name, be64(rest, 0)));
                if found.is_some() {
                    return found;
                }
                // Inode number, name length, name, optional file type, and tag.
                (9 + name_length + usize::from(self.has_file_types) + 2).next_multiple_of(8)
            };
            rest = rest.get(length.max(8)..).unwrap_or_default();
        }
        None
    }
}

impl Tree for Xfs<'_> {
    type Node = Inode;

    fn window(&self) -> &Window<'_> {
        &self.window
    }

    fn uuid(&self) -> &str {
        &self.uuid
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn grub_name(&self) -> &'static str {
        "xfs"
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
        let found = self.visit(directory, MAX_SEARCHED, |found, number| (found == name).then_some(number))?;
        found.map(|number| self.inode(number)).transpose()
    }

    fn names(&self, directory: &Inode) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        self.visit(directory, MAX_DIRECTORY, |name, _| -> Option<()> {
            names.push(name.to_vec());
            None
        })?;
        Ok(names)
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
        for run in map::runs(self, link, link.format, 0..2 * MAX_TARGET + self.block_size)? {
            let mut bytes = vec![0; (run.count * self.block_size) as usize];
            self.read_blocks(run.physical, 0, &mut bytes)?;
            // In version 5, a header comes first, except in links that mkfs.xfs created.
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

    fn unit(&self) -> u64 {
        self.block_size
    }

    fn check_own_blocks(&self, file: &Inode) -> io::Result<()> {
        file.check_own_blocks()
    }

    fn write_run(&self, run: &Run, _: &[u8], bytes: &[u8]) -> io::Result<()> {
        self.window.write(self.position(run.physical)?, bytes)
    }
}
