//! Directories and symbolic links.

use std::io;
use std::ops::Range;

use super::Ext;
use super::inode::Inode;
use crate::boot::budget::Work;
use crate::boot::filesystem::run::{Run, read_runs};
use crate::boot::filesystem::tree::{NodeKind, Tree, scan_directory};
use crate::boot::filesystem::{MAX_DIRECTORY, MAX_SEARCHED, corrupt};
use crate::boot::window::{Window, le16, le32};

const ROOT: u32 = 2;

const MAX_TARGET: u64 = 4096;

impl Ext<'_> {
    /// Reads from the start of a file into `buffer`, also beyond its end.
    pub(super) fn read_inode(&self, inode: &Inode, buffer: &mut [u8]) -> io::Result<()> {
        let runs = self.inode_runs(inode, 0..buffer.len() as u64)?;
        self.read_runs(&runs, 0, buffer)
    }

    /// The contents of a small file.
    fn small(&self, inode: &Inode, limit: u64) -> io::Result<Vec<u8>> {
        if inode.length > limit {
            return Err(too_large());
        }
        let mut bytes = vec![0; inode.length as usize];
        self.read_inode(inode, &mut bytes)?;
        Ok(bytes)
    }

    /// Calls `visit` with the names and inode numbers of a directory of at most `limit` bytes, until it returns
    /// something.
    fn visit<F>(
        &self,
        directory: &Inode,
        limit: u64,
        mut visit: impl FnMut(&[u8], u32) -> Option<F>,
    ) -> io::Result<Option<F>> {
        let newer = self.fast_commits.names(directory.number);
        self.window.spend(Work::DirectoryEntries, newer.map_or(0, |newer| newer.len() as u64))?;
        let found = newer.into_iter().flatten().find_map(|(name, number)| visit(name, (*number)?));
        if found.is_some() || self.fast_commits.is_new_directory(directory.number) {
            return Ok(found);
        }
        let length = directory.length;
        if length > limit {
            return Err(too_large());
        }
        let runs = self.inode_runs(directory, 0..length)?;
        // Each name is looked for among the newer ones as well.
        let cost = 1 + newer.map_or(0, |newer| u64::from(newer.len().checked_ilog2().unwrap_or(0)));
        scan_directory(self, &runs, length, |piece| {
            let mut entries = 0;
            // The nodes of a hash tree look like unused entries, so a linear scan finds all names.
            for block in piece.chunks(self.block_size as usize) {
                let mut rest = block;
                while rest.len() >= 8 {
                    entries += cost;
                    let (number, length, name_length) = (le32(rest, 0), le16(rest, 4), usize::from(rest[6]));
                    // 64 KiB does not fit into the field.
                    let length = if length == 0 || length == u16::MAX { rest.len() } else { length.into() };
                    if let Some(name) = rest.get(8..8 + name_length).filter(|name| number != 0 && !name.is_empty())
                        && !newer.is_some_and(|newer| newer.contains_key(name))
                        && let Some(found) = visit(name, number)
                    {
                        return (entries, Some(found));
                    }
                    rest = rest.get(length.max(8)..).unwrap_or_default();
                }
            }
            (entries, None)
        })
    }
}

fn too_large() -> io::Error {
    corrupt("a directory or symbolic link is too large")
}

impl Tree for Ext<'_> {
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
        "ext2"
    }

    fn limit(&self) -> Option<&'static str> {
        self.has_inline_data.then_some("small files and directories in its inodes (inline_data)")
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

    fn unit(&self) -> u64 {
        self.block_size
    }

    fn check_own_blocks(&self, file: &Inode) -> io::Result<()> {
        file.check_own_blocks()
    }

    fn write_run(&self, run: &Run, old: &[u8], bytes: &[u8]) -> io::Result<()> {
        self.write_blocks(run.physical, old, bytes)
    }
}
