//! Path lookup, shared by all file systems.

use std::fmt;
use std::io;
use std::ops::Range;

use super::run::Run;
use super::{FileSystem, Kind, Metadata, OpenFile, corrupt, not_found, unsupported};
use crate::boot::budget::Work;
use crate::boot::window::Window;

/// Linux's limit of symbolic links on one path, which ends loops.
const MAX_LINKS: u32 = 40;

/// The number of bytes of a directory read at once: the largest block of a directory, or a multiple of it.
const DIRECTORY_PIECE: u64 = 64 << 10;

/// The most components of a path, including those of its symbolic links.
const MAX_COMPONENTS: u32 = 512;

/// The kind of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    File,
    Directory,
    Link,
    Special,
}

/// A file system as a tree of nodes.
pub(super) trait Tree: fmt::Debug + Send + Sync {
    /// A file, directory or link.
    type Node;

    /// The partition, whose budget counts the work.
    fn window(&self) -> &Window<'_>;
    fn uuid(&self) -> &str;
    fn label(&self) -> &str;
    /// The name of GRUB's driver for it.
    fn grub_name(&self) -> &'static str;
    /// What the file system may have and is not read.
    fn limit(&self) -> Option<&'static str> {
        None
    }
    fn root(&self) -> io::Result<Self::Node>;
    fn kind(&self, node: &Self::Node) -> NodeKind;
    fn length(&self, node: &Self::Node) -> u64;
    /// The node with this name in a directory.
    fn find(&self, directory: &Self::Node, name: &[u8]) -> io::Result<Option<Self::Node>>;
    /// All names in a directory, possibly including `.` and `..`.
    fn names(&self, directory: &Self::Node) -> io::Result<Vec<Vec<u8>>>;
    fn link_target(&self, link: &Self::Node) -> io::Result<Vec<u8>>;
    /// The runs of a range of a file, in order; gaps are zeroes.
    fn runs(&self, file: &Self::Node, range: Range<u64>) -> io::Result<Vec<Run>>;
    /// Reads from `offset` in a file with these runs into `buffer`.
    fn read_runs(&self, runs: &[Run], offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// The length of what runs count, in bytes.
    fn unit(&self) -> u64;
    /// Fails if the blocks of a file must not be written in their place.
    fn check_own_blocks(&self, file: &Self::Node) -> io::Result<()>;
    /// Writes to the start of a run; `old` is what the file contains there.
    fn write_run(&self, run: &Run, old: &[u8], bytes: &[u8]) -> io::Result<()>;
}

/// A range of a file in a tree.
#[derive(Debug)]
struct Opened<'t, T> {
    tree: &'t T,
    runs: Vec<Run>,
}

impl<T: Tree> OpenFile for Opened<'_, T> {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.tree.read_runs(&self.runs, offset, buffer)
    }
}

impl<T: Tree> FileSystem for T {
    fn uuid(&self) -> &str {
        Tree::uuid(self)
    }

    fn label(&self) -> &str {
        Tree::label(self)
    }

    fn grub_name(&self) -> &'static str {
        Tree::grub_name(self)
    }

    fn limit(&self) -> Option<&'static str> {
        Tree::limit(self)
    }

    fn real_path(&self, path: &str) -> io::Result<String> {
        let (_, names) = walk_named(self, path)?;
        let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name)).collect();
        Ok(format!("/{}", names.join("/")))
    }

    fn rewrite(&self, path: &str, contents: &[u8]) -> io::Result<()> {
        let node = walk(self, path)?;
        let length = contents.len() as u64;
        if self.kind(&node) != NodeKind::File || self.length(&node) != length {
            return Err(unsupported("the file has another length now"));
        }
        self.check_own_blocks(&node)?;
        let runs = self.runs(&node, 0..length)?;
        let mut old = vec![0; contents.len()];
        self.read_runs(&runs, 0, &mut old)?;
        let mut covered = 0;
        for run in &runs {
            if run.logical * self.unit() != covered {
                break;
            }
            covered = (run.logical + run.count) * self.unit();
        }
        if covered < length {
            return Err(unsupported("the file has holes"));
        }
        for run in &runs {
            let start = (run.logical * self.unit()) as usize;
            let end = ((run.logical + run.count) * self.unit()).min(length) as usize;
            if let (Some(old), Some(new)) = (old.get(start..end), contents.get(start..end))
                && old != new
            {
                self.write_run(run, old, new)?;
            }
        }
        Ok(())
    }

    fn metadata(&self, path: &str) -> io::Result<Metadata> {
        let node = walk(self, path)?;
        let kind = match self.kind(&node) {
            NodeKind::Directory => Kind::Directory,
            NodeKind::File => Kind::File,
            NodeKind::Link | NodeKind::Special => return Err(unsupported("the path leads to a special file")),
        };
        Ok(Metadata { kind, length: self.length(&node) })
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let directory = walk(self, path)?;
        if self.kind(&directory) != NodeKind::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let names = self.names(&directory)?.into_iter().filter(|name| name != b"." && name != b"..");
        // A name that is not UTF-8 cannot be used in a path.
        Ok(names.filter_map(|name| String::from_utf8(name).ok()).collect())
    }

    fn open(&self, path: &str, range: Range<u64>) -> io::Result<Box<dyn OpenFile + '_>> {
        let node = walk(self, path)?;
        match self.kind(&node) {
            NodeKind::File => Ok(Box::new(Opened { tree: self, runs: self.runs(&node, range)? })),
            NodeKind::Directory => Err(io::ErrorKind::IsADirectory.into()),
            NodeKind::Link | NodeKind::Special => Err(unsupported("the path leads to a special file")),
        }
    }
}

/// Reads the first `length` bytes of a directory with these runs piece by piece, until `scan` finds what it looks for.
/// `scan` returns how many entries it has looked at, besides what it has found.
pub(super) fn scan_directory<T: Tree, F>(
    tree: &T,
    runs: &[Run],
    length: u64,
    mut scan: impl FnMut(&[u8]) -> (u64, Option<F>),
) -> io::Result<Option<F>> {
    let mut bytes = vec![0; DIRECTORY_PIECE.min(length) as usize];
    let mut at = 0;
    while at < length {
        let piece = bytes.get_mut(..DIRECTORY_PIECE.min(length - at) as usize).unwrap_or_default();
        tree.read_runs(runs, at, piece)?;
        let (entries, found) = scan(piece);
        tree.window().spend(Work::DirectoryEntries, entries)?;
        if found.is_some() {
            return Ok(found);
        }
        at += DIRECTORY_PIECE;
    }
    Ok(None)
}

/// Follows a path from the root. `..` at the root stays there, so a path cannot leave the file system.
fn walk<T: Tree>(tree: &T, path: &str) -> io::Result<T::Node> {
    walk_named(tree, path).map(|(node, _)| node)
}

/// Follows a path, and returns the names on the way without those of links.
fn walk_named<T: Tree>(tree: &T, path: &str) -> io::Result<(T::Node, Vec<Vec<u8>>)> {
    let mut stack = vec![tree.root()?];
    let mut names = Vec::new();
    let mut ahead = components(path.as_bytes());
    let (mut links, mut steps) = (0, 0);
    while let Some(name) = ahead.pop() {
        steps += 1;
        tree.window().spend(Work::PathComponents, 1)?;
        let Some(here) = stack.last().filter(|_| steps <= MAX_COMPONENTS) else {
            return Err(corrupt("a path has too many components"));
        };
        if tree.kind(here) != NodeKind::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if name == b".." {
            if stack.len() > 1 {
                stack.pop();
                names.pop();
            }
            continue;
        }
        let node = tree.find(here, &name)?.ok_or_else(not_found)?;
        if tree.kind(&node) != NodeKind::Link {
            stack.push(node);
            names.push(name);
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(corrupt("a path has too many symbolic links, which probably form a loop"));
        }
        let target = tree.link_target(&node)?;
        if target.starts_with(b"/") {
            stack.truncate(1);
            names.clear();
        }
        ahead.append(&mut components(&target));
    }
    Ok((stack.pop().ok_or_else(not_found)?, names))
}

/// The components of a path in reverse order, without `.`.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.rev().map(<[u8]>::to_vec).collect()
}
