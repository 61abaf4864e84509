//! Iterates over the members of an archive.

use bytes::Bytes;

use super::header::{self, BLOCK, Header, Kind, SPARSE};
use crate::error::corrupt;
use crate::stream::Stream;
use crate::zeroes::is_zero;
use crate::{Error, Result};

/// The size limit of pax records in bytes.
const MAX_RECORDS: u64 = 64 << 10;
/// The length limit of a name in bytes: the longest path of a file system. It also bounds messages and reports.
const MAX_NAME_LENGTH: usize = 4096;

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path, without a leading `./`.
    pub(crate) name: String,
    /// Its size in bytes.
    pub(crate) size: u64,
    pub(crate) kind: EntryKind,
    /// Whether its path has a leading `./`.
    pub(crate) dotted: bool,
    /// Whether it follows the data of the member before it without padding.
    pub(crate) unpadded: bool,
}

/// The type of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    /// A link, device or other special file, and what it is.
    Special(&'static str),
}

/// Iterates over the members of an archive.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    stream: Stream<'a>,
    /// The rest of the member's data and its padding, in bytes.
    left: u64,
    padding: u64,
    /// Whether the padding of the member before this one is missing.
    unpadded: bool,
    /// The previous member, for messages.
    last: String,
}

/// Fields of the next member from extended headers.
#[derive(Default)]
struct Overrides {
    name: Option<String>,
    size: Option<u64>,
    /// Whether it is a sparse file, and its true name.
    sparse: bool,
    sparse_name: Option<String>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(stream: Stream<'a>) -> Self {
        Self { stream, left: 0, padding: 0, unpadded: false, last: "the start".to_owned() }
    }

    /// The number of decompressed bytes read.
    pub(crate) fn position(&self) -> u64 {
        self.stream.position()
    }

    /// The next member; `None` at the end, whether that is marked or not.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut overrides = Overrides::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            match header.kind {
                Kind::Pax => overrides.read_pax(&self.records(&header)?).map_err(|why| self.damaged(why))?,
                Kind::GnuName => {
                    let name = self.records(&header)?;
                    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                    overrides.name = Some(utf8(name).map_err(|why| self.damaged(why))?);
                }
                Kind::PaxGlobal | Kind::GnuLink => drop(self.records(&header)?),
                Kind::File if overrides.sparse => {
                    return self.entry(header, overrides, EntryKind::Special(SPARSE)).map(Some);
                }
                Kind::File => return self.entry(header, overrides, EntryKind::File).map(Some),
                Kind::Directory => return self.entry(header, overrides, EntryKind::Directory).map(Some),
                Kind::Special(what) => return self.entry(header, overrides, EntryKind::Special(what)).map(Some),
            }
        }
    }

    /// Reads `length` bytes of the member's data, without a copy.
    pub(crate) fn take(&mut self, length: u64) -> Result<Vec<Bytes>> {
        let length = length.min(self.left);
        let pieces = self.stream.take(length)?.ok_or_else(|| self.ended())?;
        self.left -= length;
        Ok(pieces)
    }

    /// Reads the rest of the member's data, at most `most` bytes.
    pub(crate) fn take_all(&mut self, most: u64) -> Result<Vec<u8>> {
        if self.left > most {
            return Err(corrupt(&self.last, format!("{} bytes are more than the {most} it may have", self.left)));
        }
        let left = self.left;
        Ok(self.take(left)?.concat())
    }

    /// Whether any non-zero data follows the end of the archive. Reads to the end of the input.
    pub(crate) fn has_garbage(&mut self) -> Result<bool> {
        let mut garbage = false;
        while let Some(piece) = self.stream.next_piece()? {
            garbage |= !is_zero(&piece);
        }
        Ok(garbage)
    }

    fn entry(&mut self, header: Header, overrides: Overrides, kind: EntryKind) -> Result<Entry> {
        let name = match overrides.sparse_name.or(overrides.name) {
            Some(name) => name,
            None => utf8(&header.name).map_err(|why| self.damaged(why))?,
        };
        if name.len() > MAX_NAME_LENGTH {
            return Err(self.damaged("its name is too long"));
        }
        let dotted = name.starts_with("./");
        let name = name.trim_start_matches("./").to_owned();
        let size = overrides.size.unwrap_or(header.size);
        self.last.clone_from(&name);
        self.begin(size);
        Ok(Entry { name, size, kind, dotted, unpadded: self.unpadded })
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// The next header of any type; `None` at the end.
    ///
    /// Its padding may be missing, as XenServer's reader wants it after a chunk, or at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        if !self.stream.skip(self.left)? {
            return Err(self.ended());
        }
        let padding = self.padding as usize;
        self.begin(0);
        let mut bytes = [0; 2 * BLOCK];
        let mut done = self.stream.read(&mut bytes[..padding])?;
        if done < padding {
            return if is_zero(&bytes[..done]) { Ok(None) } else { Err(self.ended()) };
        }
        self.unpadded = false;
        if !is_zero(&bytes[..padding]) {
            // Padding with other bytes than zeroes, or none, and the header is here.
            done += self.stream.read(&mut bytes[padding..BLOCK])?;
            self.unpadded = header::is_header(&bytes[..done]);
        }
        let start = if self.unpadded { 0 } else { padding };
        done += self.stream.read(&mut bytes[done..start + BLOCK])?;
        match bytes[start..done].first_chunk() {
            Some(block) => header::parse(block).map_err(|why| self.damaged(why)),
            None if done == start => Ok(None),
            None => Err(self.ended()),
        }
    }

    /// The data of an extended header.
    fn records(&mut self, header: &Header) -> Result<Vec<u8>> {
        self.begin(header.size);
        self.take_all(MAX_RECORDS)
    }

    fn damaged(&self, why: &str) -> Error {
        corrupt(&format!("the member after {}", self.last), why)
    }

    fn ended(&self) -> Error {
        corrupt(&self.last, "the archive ends inside it")
            .with_remedy("copy or export the archive again: it is incomplete")
    }
}

impl Overrides {
    /// Parses records of the form `LENGTH KEY=VALUE\n`.
    fn read_pax(&mut self, mut records: &[u8]) -> std::result::Result<(), &'static str> {
        const BROKEN: &str = "its pax records are damaged";
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').ok_or(BROKEN)?;
            let (length, _) = records.split_at(space);
            let length: usize = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok()).ok_or(BROKEN)?;
            let record = records.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or(BROKEN)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(BROKEN)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.name = Some(utf8(value)?),
                b"size" => {
                    let digits = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.size = Some(digits.ok_or(BROKEN)?);
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    self.sparse = true;
                    if key == b"GNU.sparse.name" {
                        self.sparse_name = Some(utf8(value)?);
                    }
                }
                _ => {}
            }
            records = records.get(length..).unwrap_or_default();
        }
        Ok(())
    }
}

fn utf8(name: &[u8]) -> std::result::Result<String, &'static str> {
    String::from_utf8(name.to_vec()).map_err(|_| "its name is not UTF-8 text")
}

#[cfg(test)]
mod tests {
    use super::super::header::file;
    use super::*;

    fn names(archive: &[u8]) -> Result<Vec<(String, u64, EntryKind)>> {
        let mut walk = Walk::new(Stream::of_bytes(archive.to_vec()));
        let mut found = Vec::new();
        while let Some(entry) = walk.next()? {
            found.push((entry.name, entry.size, entry.kind));
        }
        Ok(found)
    }

    fn member(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
        let mut header = file(name, data.len() as u64);
        header[156] = kind;
        let sum: u32 = header[..148].iter().chain(&header[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut bytes = [&header, data].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    #[test]
    fn long_names_and_pax_records_belong_to_the_next_member() {
        let archive = [
            member("PaxHeaders", b'x', b"19 path=Ref:4/name\n14 mtime=1234\n"),
            member("short", 0, b"abc"),
            member("././@LongLink", b'L', b"Ref:4/00000001\0"),
            member("cut", b'0', b""),
            member("./Ref:4/", b'5', b""),
            member("g", b'g', b"14 comment=xx\n"),
            member("./ova.xml", b'0', &[7; 600]),
            member("link", b'2', b""),
            vec![0; 1024],
        ]
        .concat();
        let expected = [
            ("Ref:4/name", 3, EntryKind::File),
            ("Ref:4/00000001", 0, EntryKind::File),
            ("Ref:4/", 0, EntryKind::Directory),
            ("ova.xml", 600, EntryKind::File),
            ("link", 0, EntryKind::Special("a symbolic link")),
        ];
        assert_eq!(names(&archive).unwrap(), expected.map(|(name, size, kind)| (name.to_owned(), size, kind)));
        // The end marker is optional.
        assert_eq!(names(&archive[..archive.len() - 1024]).unwrap().len(), 5);
    }

    #[test]
    fn padding_may_be_missing_or_have_other_bytes_than_zeroes() {
        let odd = member("Ref:4/00000000", 0, &[1; 700]);
        let next = member("Ref:4/00000000.xxhash", 0, b"0123456789ABCDEF");
        let dirty = [&odd[..BLOCK + 700], &[9; 324]].concat();
        for (first, unpadded) in [(&odd[..], false), (&dirty, false), (&odd[..BLOCK + 700], true)] {
            // The padding at the end is missing as well, up to the checksum itself.
            for end in [BLOCK + 16, BLOCK + 20, 2 * BLOCK] {
                let mut walk = Walk::new(Stream::of_bytes([first, &next[..end]].concat()));
                let entries: Vec<_> = std::iter::from_fn(|| walk.next().unwrap()).collect();
                let found: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.unpadded)).collect();
                assert_eq!(found, [("Ref:4/00000000", false), ("Ref:4/00000000.xxhash", unpadded)]);
            }
        }
        assert!(names(&[&odd[..BLOCK + 700], &next[..300]].concat()).is_err());
    }

    #[test]
    fn damage_names_the_place() {
        let archive = [member("ova.xml", 0, b"abc"), member("Ref:4/00000000", 0, &[1; 1000]), vec![0; 1024]].concat();
        let cut = names(&archive[..2 * BLOCK + 600]).unwrap_err().to_string();
        assert!(cut.starts_with("archive member Ref:4/00000000 is damaged: the archive ends inside it"), "{cut}");
        let mut broken = archive.clone();
        broken[2 * BLOCK + 3] ^= 4;
        let broken = names(&broken).unwrap_err().to_string();
        assert!(
            broken.contains("the member after ova.xml is damaged: the checksum of its header is wrong"),
            "{broken}"
        );
    }

    #[test]
    fn extended_headers_cannot_take_all_memory() {
        for (kind, data) in [(b'x', vec![b'1'; 100_000]), (b'L', vec![b'a'; 100_000])] {
            let error = names(&member("x", kind, &data)).unwrap_err().to_string();
            assert!(error.contains("100000 bytes are more than the 65536 it may have"), "{error}");
        }
        let long = [member("x", b'L', &[b'a'; 5000]), member("a", 0, b"")].concat();
        let error = names(&long).unwrap_err().to_string();
        assert!(error.contains("its name is too long"), "{error}");
        for records in
            ["9 path=x", "99 path=x\n", "x path=x\n", "8 path\n\n", "2 ", "18446744073709551615 a=b\n", "0 a=b\n"]
        {
            let archive = [member("x", b'x', records.as_bytes()), member("a", 0, b"")].concat();
            let error = names(&archive).unwrap_err().to_string();
            assert!(error.contains("its pax records are damaged"), "{records}: {error}");
        }
    }
}
