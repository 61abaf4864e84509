//! The header of saved state: the first 4096 bytes, in a plain form that every version can read.

use crate::{Error, ErrorKind, Result};

/// The length of the header in bytes.
pub(super) const LENGTH: usize = 4096;
/// The version that this code writes. A reader refuses another major version.
const MAJOR: u16 = 1;
const MINOR: u16 = 0;
/// The number of x86-64 in ELF files (`EM_X86_64`).
const X86_64: u16 = 62;
pub(super) const MAGIC: [u8; 8] = *b"xvirtSAV";
const WRITER: usize = 32;
const TABLE: usize = 64;
const ENTRY: usize = 32;
const CHECKSUM: usize = LENGTH - 4;
/// The largest number of sections that the table has room for.
pub(super) const MAX_SECTIONS: usize = (CHECKSUM - TABLE) / ENTRY;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The version of the program that wrote the file.
    pub(super) writer: String,
    /// The length of the whole file in bytes.
    pub(super) length: u64,
    pub(super) sections: Vec<Entry>,
}

/// A section in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: u32,
    pub(super) version: u32,
    /// In bytes from the start of the file.
    pub(super) offset: u64,
    /// In bytes.
    pub(super) length: u64,
    /// The CRC-32C of the section, or 0 for memory, whose pages have checksums of their own.
    pub(super) checksum: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(8, &MAJOR.to_le_bytes());
        put(10, &MINOR.to_le_bytes());
        put(12, &X86_64.to_le_bytes());
        put(14, &(self.sections.len() as u16).to_le_bytes());
        put(16, &self.length.to_le_bytes());
        put(24, &self.writer.as_bytes()[..self.writer.len().min(WRITER)]);
        for (index, entry) in self.sections.iter().take(MAX_SECTIONS).enumerate() {
            let start = TABLE + index * ENTRY;
            put(start, &entry.kind.to_le_bytes());
            put(start + 4, &entry.version.to_le_bytes());
            put(start + 8, &entry.offset.to_le_bytes());
            put(start + 16, &entry.length.to_le_bytes());
            put(start + 24, &entry.checksum.to_le_bytes());
        }
        with_checksum(&bytes)
    }

    /// Reads a header and checks all that can be checked without the file.
    ///
    /// # Errors
    /// `CorruptState`: not a header of saved state, or a damaged one. `UnsupportedState`: of another major version or
    /// another architecture.
    pub(super) fn decode(bytes: &[u8; LENGTH]) -> Result<Self> {
        if bytes[..8] != MAGIC {
            return Err(damaged("it does not begin with the header of saved state"));
        }
        if crc32c::crc32c(&bytes[..CHECKSUM]) != u32_at(bytes, CHECKSUM) {
            return Err(damaged("the checksum of its header is wrong"));
        }
        let name = &bytes[24..24 + WRITER];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(WRITER);
        let writer: String = name[..end].iter().map(|byte| char::from(*byte)).filter(char::is_ascii_graphic).collect();
        let [major, minor, architecture, count] = [8, 10, 12, 14].map(|offset| u16_at(bytes, offset));
        if major != MAJOR {
            let what =
                format!("it has format {major}.{minor}, written by xvirt {writer}; this version reads {MAJOR}.x");
            return Err(unsupported(what).with_remedy("use a version of xvirt that reads this format"));
        }
        if architecture != X86_64 {
            let what = format!("it is of a machine of another architecture (ELF number {architecture})");
            return Err(unsupported(what).with_remedy("restore it on a host of that architecture"));
        }
        let count = usize::from(count);
        if count > MAX_SECTIONS {
            return Err(damaged(format!("its header names {count} sections, of which {MAX_SECTIONS} have room")));
        }
        let sections: Vec<_> = (0..count).map(|index| Entry::decode(bytes, TABLE + index * ENTRY)).collect();
        let header = Self { writer, length: u64_at(bytes, 16), sections };
        header.check_places()?;
        Ok(header)
    }

    /// Checks that the sections lie within the file, behind the header, and do not overlap.
    fn check_places(&self) -> Result<()> {
        let mut places: Vec<_> = self.sections.iter().map(|entry| (entry.offset, entry.length, entry.kind)).collect();
        places.sort_unstable();
        let mut free = LENGTH as u64;
        for (offset, length, kind) in places {
            let end = offset.checked_add(length).filter(|end| offset >= free && *end <= self.length);
            free = end.ok_or_else(|| damaged(format!("section {kind} overlaps another or the end of the file")))?;
        }
        Ok(())
    }
}

impl Entry {
    fn decode(bytes: &[u8; LENGTH], start: usize) -> Self {
        Self {
            kind: u32_at(bytes, start),
            version: u32_at(bytes, start + 4),
            offset: u64_at(bytes, start + 8),
            length: u64_at(bytes, start + 16),
            checksum: u32_at(bytes, start + 24),
        }
    }
}

/// A header of these bytes, with the right checksum.
pub(super) fn with_checksum(bytes: &[u8]) -> [u8; LENGTH] {
    let mut header = [0; LENGTH];
    header[..CHECKSUM].copy_from_slice(&bytes[..CHECKSUM]);
    let checksum = crc32c::crc32c(&header[..CHECKSUM]);
    header[CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
    header
}

pub(super) fn damaged(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::CorruptState, what)
}

pub(super) fn unsupported(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::UnsupportedState, what)
}

fn bytes_at<const N: usize>(bytes: &[u8; LENGTH], offset: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[offset..offset + N]);
    value
}

fn u16_at(bytes: &[u8; LENGTH], offset: usize) -> u16 {
    u16::from_le_bytes(bytes_at(bytes, offset))
}

fn u32_at(bytes: &[u8; LENGTH], offset: usize) -> u32 {
    u32::from_le_bytes(bytes_at(bytes, offset))
}

fn u64_at(bytes: &[u8; LENGTH], offset: usize) -> u64 {
    u64::from_le_bytes(bytes_at(bytes, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let entry = |kind, offset, length| Entry { kind, version: 1, offset, length, checksum: 7 };
        let sections = vec![entry(1, 4096, 10), entry(2, 8192, 0), entry(3, 5000, 100)];
        Header { writer: "0.1.0".to_owned(), length: 8192, sections }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        assert_eq!(Header::decode(&header().encode()).unwrap(), header());
        let full = Header { sections: vec![header().sections[1]; MAX_SECTIONS], ..header() };
        assert_eq!(Header::decode(&full.encode()).unwrap(), full);
    }

    #[test]
    fn each_flipped_bit_is_noticed() {
        let bytes = header().encode();
        for bit in 0..LENGTH * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&changed).unwrap_err().kind(), ErrorKind::CorruptState, "bit {bit}");
        }
    }

    /// The error of a header in which `offset` holds `value`, with the right checksum.
    fn refused(offset: usize, value: &[u8]) -> Error {
        let mut bytes = header().encode();
        bytes[offset..offset + value.len()].copy_from_slice(value);
        Header::decode(&with_checksum(&bytes)).unwrap_err()
    }

    #[test]
    fn another_format_or_architecture_is_named() {
        let error = refused(8, &[2, 0, 3]);
        assert_eq!(error.kind(), ErrorKind::UnsupportedState);
        assert_eq!(error.message(), "it has format 2.3, written by xvirt 0.1.0; this version reads 1.x");
        let error = refused(12, &[183, 0]);
        assert_eq!(error.kind(), ErrorKind::UnsupportedState);
        assert_eq!(error.message(), "it is of a machine of another architecture (ELF number 183)");
    }

    #[test]
    fn sections_outside_the_file_or_over_each_other_are_refused() {
        let offset = |entry: usize| TABLE + entry * ENTRY + 8;
        let length = |entry: usize| TABLE + entry * ENTRY + 16;
        for (place, value) in [
            (offset(0), 4095_u64),
            (offset(0), 0),
            (offset(0), 4095 + 906),
            (offset(0), u64::MAX),
            (length(0), 905),
            (length(0), u64::MAX),
            (length(2), 8192 - 5000 + 1),
            (16, 5099),
        ] {
            assert_eq!(refused(place, &value.to_le_bytes()).kind(), ErrorKind::CorruptState, "{value} at {place}");
        }
        assert_eq!(refused(14, &(MAX_SECTIONS as u16 + 1).to_le_bytes()).kind(), ErrorKind::CorruptState);
    }
}
