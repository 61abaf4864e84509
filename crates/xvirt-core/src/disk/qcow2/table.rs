//! Reading the tables of an image, and what their entries mean.

use std::ops::Range;

use crate::Result;
use crate::disk::file::{ImageFile, cannot};
use crate::disk::header::Header;
use crate::disk::segments::Segments;

/// Where an L1 entry or a plain L2 entry points to.
pub(super) const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// What no L1 entry has.
pub(super) const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
/// Whether an L1 or L2 entry is the only one that points there, so that it may be written.
pub(super) const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// What no plain L2 entry has. All but the flag for zeroes.
const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;
/// How much is read at once, in bytes.
const CHUNK: u64 = 64 << 10;

/// Shows `visit` all entries of a table that are not zero, with their positions. Holes are not read, however big the
/// table is said to be, and what the file ends before is zeroes.
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

/// Fills `bytes` with what is at `offset`; what the file ends before is zeroes.
pub(super) fn read(file: &ImageFile, offset: u64, bytes: &mut [u8]) -> Result<()> {
    let mut segments = Segments::of_bytes(bytes);
    file.read(&mut segments, offset).map_err(|error| cannot("read", file.path(), error))?;
    segments.fill_with_zeroes();
    Ok(())
}

/// What an L2 entry uses of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapping {
    /// Nothing.
    Nothing,
    /// The cluster at this offset.
    Cluster(u64),
    /// Compressed data between the first and the last of these offsets, in clusters that others may use as well.
    Compressed(u64, u64),
    /// It has bits that no entry has.
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
