//! The interface of the fuzzers in `fuzz/` to partitions, file systems and boot menus.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::BootMenu;
use super::filesystem::{self, Contents, FileSystem, Kind, Metadata, OpenFile};
use super::partition::{self, Partition, Scheme};
use super::volume::{Volume, Volumes};
use super::window::{Reads, Window};
use crate::Result;
use crate::disk::BlockBackend;

/// The partitions of a disk: number, start and length in bytes.
pub fn partitions(disk: &dyn BlockBackend) -> Result<Vec<(u32, u64, u64)>> {
    let plain = |Partition { number, start, length, .. }: Partition| (number, start, length);
    Ok(partition::read(disk, &Reads::new())?.into_iter().map(plain).collect())
}

/// The checksum of a GPT.
pub fn crc32(bytes: &[u8]) -> u32 {
    partition::crc32(bytes)
}

/// A file system.
#[derive(Debug)]
pub struct Files<'d>(Box<dyn FileSystem + 'd>);

impl<'d> Files<'d> {
    /// The file system on an unpartitioned disk, if it is a supported one.
    pub fn open(disk: &'d dyn BlockBackend) -> Option<Self> {
        match filesystem::open(Window::whole(disk)) {
            Contents::Files(files) => Some(Self(files)),
            _ => None,
        }
    }

    /// Its UUID and label.
    pub fn names(&self) -> (&str, &str) {
        (self.0.uuid(), self.0.label())
    }

    /// The length of a file; `None` for a directory.
    pub fn length(&self, path: &str) -> io::Result<Option<u64>> {
        let Metadata { kind, length } = self.0.metadata(path)?;
        Ok((kind == Kind::File).then_some(length))
    }

    /// The names in a directory.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    /// Reads from a file into `buffer`.
    pub fn read(&self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read(path, offset, buffer)
    }
}

/// A file system in memory: files by path.
#[derive(Debug)]
struct Given {
    uuid: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Given {
    fn find(&self, path: &str) -> io::Result<&[u8]> {
        self.files.get(path.trim_start_matches('/')).map(Vec::as_slice).ok_or(io::ErrorKind::NotFound.into())
    }

    /// The paths below a directory.
    fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a str> {
        let directory = path.trim_matches('/');
        self.files.keys().filter_map(move |name| match directory {
            "" => Some(name.as_str()),
            _ => name.strip_prefix(directory)?.strip_prefix('/'),
        })
    }
}

impl FileSystem for Given {
    fn uuid(&self) -> &str {
        &self.uuid
    }

    fn label(&self) -> &str {
        "label"
    }

    fn grub_name(&self) -> &'static str {
        "ext2"
    }

    fn limit(&self) -> Option<&'static str> {
        None
    }

    fn real_path(&self, path: &str) -> io::Result<String> {
        Ok(path.to_owned())
    }

    fn rewrite(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn metadata(&self, path: &str) -> io::Result<Metadata> {
        if self.below(path).next().is_some() {
            return Ok(Metadata { kind: Kind::Directory, length: 0 });
        }
        Ok(Metadata { kind: Kind::File, length: self.find(path)?.len() as u64 })
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names: Vec<_> = self.below(path).filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
        names.dedup();
        Ok(names)
    }

    fn open(&self, path: &str, _: Range<u64>) -> io::Result<Box<dyn OpenFile + '_>> {
        Ok(Box::new(GivenFile(self.find(path)?)))
    }
}

/// A file in memory.
#[derive(Debug)]
struct GivenFile<'g>(&'g [u8]);

impl OpenFile for GivenFile<'_> {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..));
        let bytes = bytes.and_then(|bytes| bytes.get(..buffer.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// Reads the boot menu of partitions with these files, given by paths without a leading `/`, and loads every entry.
pub fn menu(partitions: Vec<Vec<(String, Vec<u8>)>>) -> Result<usize> {
    let volume = |(number, files): (u32, Vec<(String, Vec<u8>)>)| Volume {
        partition: Partition { number, start: 0, length: 1 << 30, scheme: Scheme::Gpt, gpt: None },
        contents: Contents::Files(Box::new(Given {
            uuid: format!("{number:08x}-0000-4000-8000-000000000000"),
            files: files.into_iter().collect(),
        })),
    };
    let volumes = (1..).zip(partitions).map(volume).collect();
    let menu = BootMenu::of(Volumes::of(volumes, Reads::new()))?;
    for entry in menu.entries() {
        // The files of an entry may be missing.
        drop(menu.load(entry));
    }
    Ok(menu.entries().len())
}
