//! The snapshots and bitmaps inside an image. They are not used, so their tables must not change.

use std::ops::Range;

use super::table;
use crate::Result;
use crate::disk::file::{ImageFile, cannot};
use crate::disk::header::{Header, MAX_L1_BYTES, corrupt};

/// QEMU's limits.
const MAX_SNAPSHOTS: u64 = 65536;
const MAX_SNAPSHOT_TABLE_BYTES: u64 = 64 << 20;
const MAX_BITMAP_TABLE_BYTES: u64 = 1 << 30;

/// The range of a table in the file, in bytes.
type Place = Range<u64>;

/// The ranges of the snapshot table and of the snapshots' L1 tables.
pub(super) fn snapshots(file: &ImageFile, header: &Header) -> Result<(Place, Vec<Place>)> {
    let start = header.snapshots_offset;
    if header.snapshots == 0 {
        return Ok((0..0, Vec::new()));
    }
    let impossible = || corrupt(file.path(), "its snapshot table is not where a table can be");
    let end = start.checked_add(MAX_SNAPSHOT_TABLE_BYTES).ok_or_else(impossible)?;
    if header.snapshots > MAX_SNAPSHOTS || !start.is_multiple_of(header.cluster_size) {
        return Err(impossible());
    }
    let mut entries = Entries::new(file, start..end, "snapshot table")?;
    let mut l1_tables = Vec::new();
    for _ in 0..header.snapshots {
        let fields = entries.take::<40>()?;
        l1_tables.extend(entries.place(number(&fields[..8]), number(&fields[8..12]) * 8, MAX_L1_BYTES)?);
        let (id, name, extra) = (number(&fields[12..14]), number(&fields[14..16]), number(&fields[36..40]));
        entries.skip(id + name + extra);
    }
    Ok((start..entries.at, l1_tables))
}

/// The ranges of the tables of the bitmaps in a directory.
pub(super) fn bitmap_tables(file: &ImageFile, directory: Place) -> Result<Vec<Place>> {
    let mut entries = Entries::new(file, directory.clone(), "bitmap directory")?;
    let mut tables = Vec::new();
    while entries.at < directory.end {
        let fields = entries.take::<24>()?;
        tables.extend(entries.place(number(&fields[..8]), number(&fields[8..12]) * 8, MAX_BITMAP_TABLE_BYTES)?);
        entries.skip(number(&fields[18..20]) + number(&fields[20..24]));
    }
    Ok(tables)
}

/// A table with entries of variable length.
struct Entries<'a> {
    file: &'a ImageFile,
    name: &'static str,
    at: u64,
    end: u64,
    file_length: u64,
}

impl<'a> Entries<'a> {
    fn new(file: &'a ImageFile, place: Place, name: &'static str) -> Result<Self> {
        let file_length = file.len().map_err(|error| cannot("measure", file.path(), error))?;
        Ok(Self { file, name, at: place.start, end: place.end.min(file_length), file_length })
    }

    /// Reads the fixed fields of an entry.
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut fields = [0; N];
        if self.end.saturating_sub(self.at) < N as u64 {
            return Err(corrupt(self.file.path(), &format!("its {} does not end", self.name)));
        }
        table::read(self.file, self.at, &mut fields)?;
        self.at += N as u64;
        Ok(fields)
    }

    /// Skips the rest of an entry.
    fn skip(&mut self, length: u64) {
        self.at = (self.at + length).next_multiple_of(8);
    }

    /// The range of the table to which an entry points; `None` if it is empty.
    fn place(&self, start: u64, length: u64, most: u64) -> Result<Option<Place>> {
        match start.checked_add(length).filter(|end| length <= most && *end <= self.file_length) {
            Some(end) => Ok(Some(start..end).filter(|place| !place.is_empty())),
            None => {
                let what = format!("its {} names a table of {length} bytes at {start:#x}", self.name);
                Err(corrupt(self.file.path(), &what))
            }
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
