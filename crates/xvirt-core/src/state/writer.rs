//! Writes saved state.

use std::fs::File;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::base::Identity;
use super::header::{Entry, Header, LENGTH};
use super::memory::{self, MemoryMap, OFFSET};
use super::section::{Kind, Section, encode};
use crate::memory::GuestRam;
use crate::progress::Progress;
use crate::{Error, Result};

/// Bodies begin at multiples of this many bytes.
const ALIGNMENT: u64 = 4096;

/// Writes one file of saved state. Until [`finish`](Self::finish) it has no valid header.
#[derive(Debug)]
pub(crate) struct StateWriter {
    file: File,
    sections: Vec<Entry>,
    /// Where the next body goes.
    end: u64,
}

impl StateWriter {
    /// Writes to `file`, which must be empty.
    pub(crate) fn new(file: File) -> Self {
        Self { file, sections: Vec::new(), end: LENGTH as u64 }
    }

    /// Writes the memory of a guest that does not run; returns how many bytes of it are not zeroes. Comes before all
    /// other sections.
    ///
    /// # Errors
    /// `NoSpace` or another failure of the file, or `Cancelled`.
    pub(crate) fn memory(&mut self, ram: &GuestRam, progress: &dyn Progress) -> Result<u64> {
        let map = memory::save(ram, &self.file, progress)?;
        self.memory_written(&map)
    }

    /// Describes memory that was written to the file as `map` says; returns how many bytes it has. Comes before all other
    /// sections.
    ///
    /// # Errors
    /// As [`section`](Self::section).
    pub(crate) fn memory_written(&mut self, map: &MemoryMap) -> Result<u64> {
        let length = map.length();
        let entry = Entry { kind: Kind::Memory as u32, version: 1, offset: OFFSET, length, checksum: 0 };
        self.sections.push(entry);
        self.end = (OFFSET + length).next_multiple_of(ALIGNMENT);
        self.section(map)?;
        Ok(map.bytes_present())
    }

    /// Writes a section.
    ///
    /// # Errors
    /// `NoSpace` or another failure of the file.
    pub(crate) fn section<S: Section>(&mut self, section: &S) -> Result<()> {
        self.encoded(S::KIND, S::VERSION, &encode(section)?)
    }

    /// Writes the body of a section.
    ///
    /// # Errors
    /// As [`section`](Self::section).
    pub(super) fn encoded(&mut self, kind: Kind, version: u32, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, self.end).map_err(|e| cannot_write(kind, e))?;
        let (offset, length, checksum) = (self.end, bytes.len() as u64, crc32c::crc32c(bytes));
        self.sections.push(Entry { kind: kind as u32, version, offset, length, checksum });
        self.end = (self.end + bytes.len() as u64).next_multiple_of(ALIGNMENT);
        Ok(())
    }

    /// Completes the file: everything is on stable storage when this returns.
    ///
    /// # Errors
    /// `NoSpace` or another failure of the file.
    pub(crate) fn finish(self) -> Result<File> {
        self.finish_identified().map(|(file, _)| file)
    }

    /// Like [`finish`](Self::finish), with what identifies the file for others that are based on it.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub(crate) fn finish_identified(self) -> Result<(File, Identity)> {
        let failed = |e| Error::io("cannot complete the saved state", e);
        self.file.set_len(self.end).map_err(failed)?;
        // The header makes the file valid, so everything else must be there first.
        self.file.sync_data().map_err(failed)?;
        let writer = env!("CARGO_PKG_VERSION").to_owned();
        let header = Header { writer, length: self.end, sections: self.sections };
        let header = header.encode();
        self.file.write_all_at(&header, 0).map_err(failed)?;
        self.file.sync_all().map_err(failed)?;
        Ok((self.file, Sha256::digest(header).into()))
    }
}

fn cannot_write(kind: Kind, error: std::io::Error) -> Error {
    Error::io(format!("cannot write section '{}' of the saved state", kind.name()), error)
}
