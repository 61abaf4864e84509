//! Reads saved state. Nothing in the file is trusted.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::base::{Identity, MAX_BASES, MemoryBase};
use super::chain::MemoryChain;
use super::header::{Entry, Header, LENGTH, damaged, unsupported};
use super::memory::{self, CHUNK, MemoryMap, OFFSET, PAGE};
use super::pages::PageFile;
use super::parallel::{Work, divide};
use super::section::{Kind, MAX_BODY, Section, decode};
use super::writer::StateWriter;
use crate::memory::{GuestRam, MemoryBacking, is_local};
use crate::progress::Progress;
use crate::size::ByteSize;
use crate::{Error, Result};

/// A file of saved state, whose header and sections' places have been checked.
#[derive(Debug)]
pub(crate) struct StateReader {
    file: Arc<File>,
    header: Header,
    identity: Identity,
    /// The file on which it is based.
    base: Option<Box<Self>>,
}

impl StateReader {
    /// Reads the header of `file`.
    ///
    /// # Errors
    /// `CorruptState`: the file is not saved state, damaged, or cut off. `UnsupportedState`: it is of another format,
    /// or has a section that this version does not know.
    pub(crate) fn new(file: File) -> Result<Self> {
        let length = file.metadata().map_err(cannot_read)?.len();
        let mut bytes = [0; LENGTH];
        if length < LENGTH as u64 {
            return Err(damaged(format!("it has {length} bytes, which is less than a header")));
        }
        file.read_exact_at(&mut bytes, 0).map_err(cannot_read)?;
        let header = Header::decode(&bytes)?;
        if header.length > length {
            return Err(damaged(format!("it has {length} bytes of {}", header.length)));
        }
        for (index, entry) in header.sections.iter().enumerate() {
            let Some(kind) = Kind::from_number(entry.kind) else {
                let what =
                    format!("it has a section of unknown kind {}, written by xvirt {}", entry.kind, header.writer);
                return Err(unsupported(what).with_remedy("use a version of xvirt that reads this section"));
            };
            if header.sections[..index].iter().any(|other| other.kind == entry.kind) {
                return Err(damaged(format!("it has section '{}' twice", kind.name())));
            }
        }
        let identity = Sha256::digest(bytes).into();
        Ok(Self { file: Arc::new(file), header, identity, base: None })
    }

    /// Opens the files on which this one is based, from the nearest on; `open` gets their numbers.
    ///
    /// # Errors
    /// `CorruptState`: one is not the one that this is based on; or as [`new`](Self::new).
    pub(crate) fn open_bases(&mut self, open: impl Fn(usize) -> Result<File>) -> Result<()> {
        let (mut reader, mut number) = (self, 0);
        while let Some(base) = reader.memory_base()? {
            number += 1;
            if number > MAX_BASES {
                return Err(damaged(format!("it is based on more than {MAX_BASES} others")));
            }
            let below = Self::new(open(number)?)?;
            base.check(&reader.memory_map()?, &below.identity)?;
            reader = reader.base.insert(Box::new(below));
        }
        Ok(())
    }

    /// A section that has to be there.
    ///
    /// # Errors
    /// `CorruptState`: it is missing, or damaged. `UnsupportedState`: it has another version.
    pub(crate) fn section<S: Section>(&self) -> Result<S> {
        let (bytes, version) = self.encoded(S::KIND)?;
        decode(&bytes, version)
    }

    /// The body of a section, and its version.
    fn encoded(&self, kind: Kind) -> Result<(Vec<u8>, u32)> {
        let (name, entry) = (kind.name(), self.entry(kind)?);
        if entry.length > MAX_BODY {
            return Err(damaged(format!("section '{name}' has {} bytes, and {MAX_BODY} is the limit", entry.length)));
        }
        let mut bytes = vec![0; entry.length as usize];
        self.file.read_exact_at(&mut bytes, entry.offset).map_err(cannot_read)?;
        if crc32c::crc32c(&bytes) != entry.checksum {
            return Err(damaged(format!("the checksum of section '{name}' is wrong")));
        }
        Ok((bytes, entry.version))
    }

    /// Reads the guest's memory into `ram`, which must be all zeroes.
    ///
    /// # Errors
    /// As [`section`](Self::section), `InvalidConfig` when `ram` has other ranges, or `Cancelled`.
    pub(crate) fn memory(&self, ram: &GuestRam, progress: &dyn Progress) -> Result<()> {
        let (map, base) = (self.memory_map()?, self.memory_base()?);
        match (&base, &self.base) {
            (None, _) => {}
            (Some(base), Some(below)) => {
                below.memory(ram, progress)?;
                base.check(&map, &below.identity)?;
            }
            (Some(_), None) => return Err(damaged("it is based on another file, which is not there")),
        }
        memory::load(&map, base.as_ref(), &self.file, ram, progress)
    }

    /// Verifies the checksums of the memory in this file, without that in those on which it is based.
    ///
    /// # Errors
    /// As [`section`](Self::section), or `Cancelled`.
    pub(crate) fn verify_memory(&self, progress: &dyn Progress) -> Result<()> {
        let map = self.memory_map()?;
        let length = map.length();
        let work =
            Work { parts: length.div_ceil(CHUNK as u64), bytes: length, name: "checking the saved memory", progress };
        divide(
            &work,
            || vec![0; CHUNK],
            |number, buffer| {
                let bytes = &mut buffer[..memory::chunk_length(length, number)];
                memory::read_chunk(&map, None, &self.file, number, bytes)?;
                Ok(bytes.len() as u64)
            },
        )
    }

    /// Whether it is based on another file.
    pub(crate) fn has_base(&self) -> bool {
        self.header.sections.iter().any(|entry| entry.kind == Kind::MemoryBase as u32)
    }

    /// What identifies it for others that are based on it.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Writes the same saved state to an empty file that is based on no other.
    ///
    /// # Errors
    /// As [`memory`](Self::memory), and `NoSpace` or another failure of that file.
    pub(crate) fn flatten(&self, file: File, progress: &dyn Progress) -> Result<()> {
        let chain = self.memory_chain()?;
        let copy = file.try_clone().map_err(|e| Error::io("cannot duplicate the descriptor of the saved state", e))?;
        let (ranges, length) = (chain.ranges().to_vec(), chain.length());
        let (pages, parts) = (PageFile::new(ranges, copy)?, length.div_ceil(CHUNK as u64));
        divide(
            &Work { parts, bytes: length, name: "copying the guest's memory", progress },
            || vec![0; CHUNK],
            |number, buffer| {
                let bytes = &mut buffer[..memory::chunk_length(length, number)];
                chain.read(number, bytes)?;
                pages.write(number * (CHUNK / PAGE) as u64, bytes)?;
                Ok(bytes.len() as u64)
            },
        )?;
        let mut writer = StateWriter::new(file);
        writer.memory_written(&pages.map())?;
        for entry in &self.header.sections {
            match Kind::from_number(entry.kind) {
                None | Some(Kind::Memory | Kind::MemoryMap | Kind::MemoryBase) => {}
                Some(kind) => {
                    let (bytes, version) = self.encoded(kind)?;
                    writer.encoded(kind, version, &bytes)?;
                }
            }
        }
        writer.finish().map(drop)
    }

    /// What it takes from the file on which it is based, if it is based on one.
    fn memory_base(&self) -> Result<Option<MemoryBase>> {
        self.has_base().then(|| self.section()).transpose()
    }

    /// Maps the guest's memory from the file, privately: the guest can run before it is read. Damage of the memory is not
    /// noticed.
    ///
    /// # Errors
    /// As [`memory`](Self::memory), and `OutOfMemory`.
    pub(crate) fn map_memory(&self, size: ByteSize, backing: &MemoryBacking) -> Result<GuestRam> {
        memory::map(&self.memory_map()?, &self.file, size, backing)
    }

    /// The guest's memory in the file and those on which it is based, to be read chunk by chunk.
    ///
    /// # Errors
    /// As [`section`](Self::section).
    pub(crate) fn memory_chain(&self) -> Result<MemoryChain> {
        let (mut layers, mut next) = (Vec::new(), Some(self));
        while let Some(reader) = next {
            layers.insert(0, (reader.memory_map()?, reader.memory_base()?, Arc::clone(&reader.file)));
            next = reader.base.as_deref();
        }
        MemoryChain::new(layers)
    }

    /// The guest's memory that is not zeroes, in ranges of addresses.
    ///
    /// # Errors
    /// As [`section`](Self::section).
    pub(crate) fn present_memory(&self) -> Result<Vec<Range<u64>>> {
        Ok(self.memory_map()?.present())
    }

    /// Whether the file is on a disk of this host, so that reading it hardly ever fails and it can be mapped.
    pub(crate) fn is_local(&self) -> bool {
        is_local(&self.file)
    }

    fn memory_map(&self) -> Result<MemoryMap> {
        let entry = self.entry(Kind::Memory)?;
        if entry.offset != OFFSET || entry.version != 1 {
            return Err(unsupported("its memory lies where this version of xvirt does not expect it"));
        }
        let map: MemoryMap = self.section()?;
        map.check(entry.length)?;
        Ok(map)
    }

    fn entry(&self, kind: Kind) -> Result<&Entry> {
        let found = self.header.sections.iter().find(|entry| entry.kind == kind as u32);
        found.ok_or_else(|| damaged(format!("it has no section '{}'", kind.name())))
    }
}

fn cannot_read(error: std::io::Error) -> Error {
    Error::io("cannot read the saved state", error)
}
