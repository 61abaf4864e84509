//! The file that records which blocks are in the target.
//!
//! Format, little-endian: magic, version (4 bytes), four zero bytes, disk size and block size in bytes (8 each), one
//! bit per block in words of 8 bytes, CRC-32C of everything before (4 bytes). The file is replaced atomically, so it is
//! always the old or the new one; any other contents are an error.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::disk::bitmap::Bitmap;
use crate::disk::blocks;
use crate::disk::create::sync_folder;
use crate::named_file::open_file;
use crate::{Error, ErrorKind, Result};

const MAGIC: [u8; 8] = *b"XVLAZYMP";
const VERSION: u32 = 1;
const HEADER: usize = 32;
const CHECKSUM: usize = 4;
/// The length limit for reading a file.
const MAX_LENGTH: u64 = (16 << 20) + (HEADER + CHECKSUM) as u64;

#[derive(Debug)]
pub(super) struct Map {
    path: PathBuf,
    capacity: u64,
    block_size: u64,
    /// The number of blocks recorded on stable storage. Blocks are only added, so equal numbers mean equal sets.
    recorded: u64,
}

impl Map {
    /// Creates a new map; fails if the file exists.
    pub(super) fn create(path: &Path, capacity: u64, block_size: u64, done: &Bitmap) -> Result<Self> {
        let map = Self { path: path.to_owned(), capacity, block_size, recorded: done.count() };
        let made = map.write(done).and_then(|new| {
            // Unlike rename(2), link(2) does not replace a file.
            let linked = fs::hard_link(&new, path);
            let removed = fs::remove_file(&new);
            linked.and(removed).and_then(|()| sync_folder(path))
        });
        made.map_err(|error| {
            let exists = error.kind() == io::ErrorKind::AlreadyExists;
            let remedy = if exists { "open it, or choose another name" } else { "check the folder and its space" };
            Error::io(format!("cannot create the disk map {}", path.display()), error).with_remedy(remedy)
        })?;
        Ok(map)
    }

    /// Reads the map of a disk of `capacity` bytes, and the recorded blocks.
    pub(super) fn open(path: &Path, capacity: u64) -> Result<(Self, Bitmap)> {
        let what = format!("cannot use the disk map {}", path.display());
        let mut bytes = Vec::new();
        let read = open_file(path, "disk map")?.take(MAX_LENGTH + 1).read_to_end(&mut bytes);
        read.map_err(|error| Error::io(what.clone(), error))?;
        let damaged = |why: &str| {
            Error::new(ErrorKind::CorruptImage, what.clone())
                .because(why)
                .with_remedy("create the disk again from its source")
        };
        let mut fields = Fields(&bytes);
        if fields.take() != Some(MAGIC) {
            return Err(damaged("it is not a disk map"));
        }
        match fields.take().map(u32::from_le_bytes) {
            Some(VERSION) => {}
            Some(version) => {
                return Err(Error::new(ErrorKind::UnsupportedImage, format!("{what}: its version is {version}"))
                    .with_remedy("use the version that wrote it, or a newer one"));
            }
            None => return Err(damaged("it is cut off")),
        }
        let body = bytes.split_last_chunk::<CHECKSUM>();
        let whole = body.is_some_and(|(body, sum)| crc32c::crc32c(body) == u32::from_le_bytes(*sum));
        if !whole {
            return Err(damaged("its checksum is wrong"));
        }
        let zero = fields.take::<4>();
        let (size, block_size) = (fields.take().map(u64::from_le_bytes), fields.take().map(u64::from_le_bytes));
        let (Some([0, 0, 0, 0]), Some(size), Some(block_size @ 1..)) = (zero, size, block_size) else {
            return Err(damaged("it contradicts itself"));
        };
        if size != capacity {
            let what = format!("{what}: it is for a disk of {size} bytes, this one has {capacity}");
            return Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("give the map that belongs to the disk"));
        }
        let done = fields.0.split_last_chunk::<CHECKSUM>().map_or(&[][..], |(done, _)| done);
        let done = Bitmap::from_bytes(done, blocks::count(size, block_size));
        let done = done.ok_or_else(|| damaged("it contradicts itself"))?;
        Ok((Self { path: path.to_owned(), capacity, block_size, recorded: done.count() }, done))
    }

    /// Replaces the map. When this returns, the new one is on stable storage; on failure the old one remains.
    pub(super) fn record(&mut self, done: &Bitmap) -> io::Result<()> {
        let new = self.write(done)?;
        fs::rename(new, &self.path)?;
        sync_folder(&self.path)?;
        self.recorded = done.count();
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn block_size(&self) -> u64 {
        self.block_size
    }

    /// The number of blocks recorded on stable storage.
    pub(super) fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Writes a new map beside the old one.
    fn write(&self, done: &Bitmap) -> io::Result<PathBuf> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.capacity.to_le_bytes());
        bytes.extend(self.block_size.to_le_bytes());
        bytes.extend(done.to_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        Ok(new.into())
    }
}

/// The unparsed rest of a file.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}
