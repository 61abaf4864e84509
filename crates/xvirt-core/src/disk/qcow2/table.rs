//! Reads the tables of an image and decodes their entries.

use std::ops::Range;

use crate::Result;
use crate::disk::file::{ImageFile, cannot};
use crate::disk::header::Header;
use crate::disk::segments::Segments;

/// The offset in an L1 entry or a standard L2 entry.
pub(super) const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// The reserved bits of L1 entries.
pub(super) const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
/// Set if the refcount of the target of an L1 or L2 entry is exactly one, so that it may be written in place.
pub(super) const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// The reserved bits of standard L2 entries; the zero flag is not one.
const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;
/// The number of bytes read at once.
const CHUNK: u64 = 64 << 10;

/// Calls `visit` with all non-zero entries of a table and their indices. Holes are not read, however large the table
/// claims to be, and bytes beyond the end of the file are zeroes.
pub(super) fn entries(
    file: &ImageFile,
    table: Range<u64>,
    mut visit: impl FnMut(u64, u64) -> Result<()>,
) -> Result<()> {
    let failed = |error| cannot("read", file.path(), error);
    let mut bytes = vec![0; table.end.saturating_sub(table.start).min(CHUNK) as usize];
    let mut at = table.start;
    while let Some(data) = file.skip_hole(at).map_err(failed)?.filter(|data| *data < table.end) {
        at += (data - at) / 8 * 8;
        let chunk = bytes.get_mut(..(table.end - at).min(CHUNK) as usize).unwrap_or_default();
        read(file, at, chunk)?;
        for (position, entry) in chunk.as_chunks().0.iter().enumerate() {
            let entry = u64::from_be_bytes(*entry);
            if entry != 0 {
                visit((at - table.start) / 8 + position as u64, entry)?;
            }
        }
        at += chunk.len() as u64;
    }
    Ok(())
}

/// Reads `bytes` at `offset`; bytes beyond the end of the file are zeroes.
pub(super) fn read(file: &ImageFile, offset: u64, bytes: &mut [u8]) -> Result<()> {
    let mut segments = Segments::of_bytes(bytes);
    file.read(&mut segments, offset).map_err(|error| cannot("read", file.path(), error))?;
    segments.fill_with_zeroes();
    Ok(())
}

/// The target of an L2 entry in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapping {
    /// Unallocated.
    Nothing,
    /// The cluster at this offset.
    Cluster(u64),
    /// Compressed data from the first to the last of these offsets, in clusters that other data may share.
    Compressed(u64, u64),
    /// Reserved bits are set.
    Reserved,
}

impl Mapping {
    pub(super) fn of(entry: u64, header: &Header) -> Self {
        if entry & COMPRESSED != 0 {
            if entry & COPIED != 0 {
                return Self::Reserved;
            }
            let offset_bits = 70 - header.cluster_size.trailing_zeros();
            let entry = entry & (COMPRESSED - 1);
            let offset = entry & ((1 << offset_bits) - 1);
            return Self::Compressed(offset, (offset & !511) + ((entry >> offset_bits) + 1) * 512 - 1);
        }
        match (entry & L2_RESERVED, entry & OFFSET) {
            (0, 0) => Self::Nothing,
            (0, offset) => Self::Cluster(offset),
            _ => Self::Reserved,
        }
    }
}
