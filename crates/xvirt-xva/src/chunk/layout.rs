//! The positions of chunks on their disks.
//!
//! The number of a chunk does not determine its position, which is the sum of what precedes it on its disk. Each
//! missing number stands for as many zeroes as the archive's first chunk has bytes, also before a disk's first chunk. A
//! chunk without bytes, which exports over slow networks contain, uses a number but adds nothing.

use std::ops::Range;

use super::CHUNK;
use crate::Error;
use crate::error::{corrupt, out_of_order};
use crate::ova::ExpectedDisk;

/// The positions of all chunks of an archive.
#[derive(Debug)]
pub(crate) struct Layout {
    disks: Vec<Disk>,
    /// The number of bytes of a missing chunk, once it is known.
    unit: Option<u64>,
}

#[derive(Debug)]
struct Disk {
    id: String,
    size: u64,
    /// The smallest valid number of the next chunk.
    next: u64,
    offset: u64,
    begun: bool,
}

/// The position of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) disk: usize,
    pub(crate) offset: u64,
    /// The number of its bytes on the disk; bytes beyond the disk's end must be zeroes.
    pub(crate) length: u64,
    /// Whether chunks are missing before the first one of the disk.
    pub(crate) late: bool,
    number: u64,
    unit: Option<u64>,
}

/// The reason why a chunk has no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unplaced {
    NoDisk,
    Order,
    Beyond,
}

impl Unplaced {
    /// The error for the chunk with this name.
    pub(crate) fn error(self, chunk: &str) -> Error {
        match self {
            Self::NoDisk => corrupt(chunk, "ova.xml contains no disk with its id"),
            Self::Order => out_of_order(chunk, "it does not follow a chunk with a lower number"),
            Self::Beyond => corrupt(chunk, "it is beyond the end of its disk"),
        }
    }
}

impl Layout {
    pub(crate) fn new(disks: &[ExpectedDisk]) -> Self {
        let disk =
            |disk: &ExpectedDisk| Disk { id: disk.id.clone(), size: disk.size, next: 0, offset: 0, begun: false };
        Self { disks: disks.iter().map(disk).collect(), unit: None }
    }

    /// The position of the next chunk, or the reason why it has none.
    pub(crate) fn place(&self, id: &str, number: u64, length: u64) -> Result<Place, Unplaced> {
        let found = self.disks.iter().enumerate().find(|(_, disk)| disk.id == id);
        let (index, disk) = found.ok_or(Unplaced::NoDisk)?;
        let gap = number.checked_sub(disk.next).ok_or(Unplaced::Order)?;
        let skipped = match gap {
            0 => Some(0),
            _ => gap.checked_mul(self.unit.unwrap_or(length.max(CHUNK))),
        };
        let left = skipped.and_then(|skipped| (disk.size - disk.offset).checked_sub(skipped));
        let left = left.filter(|left| *left > 0 || length == 0).ok_or(Unplaced::Beyond)?;
        // A chunk that is short because its disk ends does not determine the chunk size.
        let told = if length < left { length } else { length.max(CHUNK) };
        let unit = self.unit.or((length > 0).then_some(told));
        let late = !disk.begun && gap > 0;
        Ok(Place { disk: index, offset: disk.size - left, length: length.min(left), late, number, unit })
    }

    /// Records a complete chunk.
    pub(crate) fn pass(&mut self, place: &Place) {
        self.unit = place.unit;
        if let Some(disk) = self.disks.get_mut(place.disk) {
            disk.next = place.number.saturating_add(1);
            disk.offset = place.offset + place.length;
            disk.begun = true;
        }
    }

    /// The bytes that a chunk which was not read should have, if it has none before it that was not read either.
    pub(crate) fn missed(&self, disk: usize, number: u64) -> Option<Range<u64>> {
        let disk = self.disks.get(disk)?;
        let unit = self.unit.unwrap_or(CHUNK);
        let skipped = number.checked_sub(disk.next)?.checked_mul(unit)?;
        let start = disk.offset.checked_add(skipped).filter(|start| *start < disk.size)?;
        Some(start..start.saturating_add(unit).min(disk.size))
    }

    /// Whether a disk is complete.
    pub(crate) fn is_complete(&self, disk: usize) -> bool {
        self.disks.get(disk).is_some_and(|disk| disk.offset == disk.size)
    }

    /// The end of the disk's data so far, in bytes.
    pub(crate) fn offset(&self, disk: usize) -> u64 {
        self.disks.get(disk).map_or(0, |disk| disk.offset)
    }

    /// Whether any chunk of a disk was read.
    pub(crate) fn has_begun(&self, disk: usize) -> bool {
        self.disks.get(disk).is_some_and(|disk| disk.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn layout(sizes: &[u64]) -> Layout {
        let disk =
            |(index, size): (usize, &u64)| ExpectedDisk { id: format!("Ref:{index}"), size: *size, required: true };
        Layout::new(&sizes.iter().enumerate().map(disk).collect::<Vec<_>>())
    }

    fn place(layout: &mut Layout, disk: usize, number: u64, length: u64) -> Result<(u64, u64), Unplaced> {
        let place = layout.place(&format!("Ref:{disk}"), number, length)?;
        layout.pass(&place);
        Ok((place.offset, place.length))
    }

    #[test]
    fn gaps_and_chunks_without_bytes_are_counted() {
        let mut layout = layout(&[10 * MIB]);
        assert_eq!(place(&mut layout, 0, 0, MIB), Ok((0, MIB)));
        assert_eq!(place(&mut layout, 0, 3, MIB), Ok((3 * MIB, MIB)));
        assert_eq!(place(&mut layout, 0, 4, 0), Ok((4 * MIB, 0)));
        assert_eq!(place(&mut layout, 0, 5, MIB), Ok((4 * MIB, MIB)));
        assert!(!layout.is_complete(0));
        assert_eq!(place(&mut layout, 0, 10, MIB), Ok((9 * MIB, MIB)));
        assert!(layout.is_complete(0));
    }

    #[test]
    fn the_first_chunk_tells_how_big_a_gap_is_unless_its_disk_ends_there() {
        let mut big = layout(&[40 * MIB]);
        assert_eq!(place(&mut big, 0, 0, 4 * MIB), Ok((0, 4 * MIB)));
        assert_eq!(place(&mut big, 0, 9, 4 * MIB), Ok((36 * MIB, 4 * MIB)));
        let mut small = layout(&[1536, 3 * MIB]);
        assert_eq!(place(&mut small, 0, 0, 1536), Ok((0, 1536)));
        assert_eq!(place(&mut small, 1, 0, MIB), Ok((0, MIB)));
        assert_eq!(place(&mut small, 1, 2, MIB), Ok((2 * MIB, MIB)));
    }

    #[test]
    fn a_disk_may_begin_with_missing_chunks() {
        let mut layout = layout(&[4 * MIB, 3 * MIB]);
        let first = layout.place("Ref:0", 2, MIB).unwrap();
        assert_eq!((first.offset, first.late), (2 * MIB, true));
        layout.pass(&first);
        assert!(!layout.place("Ref:0", 3, MIB).unwrap().late);
        assert!(!layout.place("Ref:1", 0, MIB).unwrap().late);
        assert_eq!(place(&mut layout, 1, 2, 512), Ok((2 * MIB, 512)));
    }

    #[test]
    fn a_tail_is_cut_at_the_end_of_the_disk() {
        let mut layout = layout(&[MIB + 512]);
        assert_eq!(place(&mut layout, 0, 0, MIB), Ok((0, MIB)));
        assert_eq!(place(&mut layout, 0, 1, MIB), Ok((MIB, 512)));
        assert!(layout.is_complete(0));
        assert_eq!(place(&mut layout, 0, 2, 512), Err(Unplaced::Beyond));
    }

    #[test]
    fn impossible_places_are_refused() {
        let mut layout = layout(&[u64::MAX / 2, MIB]);
        assert_eq!(place(&mut layout, 7, 0, MIB), Err(Unplaced::NoDisk));
        assert_eq!(place(&mut layout, 0, 0, MIB), Ok((0, MIB)));
        assert_eq!(place(&mut layout, 0, 5, MIB), Ok((5 * MIB, MIB)));
        for number in [0, 5] {
            assert_eq!(place(&mut layout, 0, number, MIB), Err(Unplaced::Order));
        }
        for number in [u64::MAX, u64::MAX / MIB, 1 << 43] {
            assert_eq!(place(&mut layout, 0, number, MIB), Err(Unplaced::Beyond), "{number}");
        }
        assert_eq!(layout.missed(0, 7), Some(7 * MIB..8 * MIB));
        assert_eq!((layout.missed(0, 5), layout.missed(0, u64::MAX), layout.missed(7, 0)), (None, None, None));
        assert_eq!(place(&mut layout, 1, 0, MIB), Ok((0, MIB)));
    }
}
