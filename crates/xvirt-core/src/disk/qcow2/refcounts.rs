//! Checks refcounts: a cluster in use that is not counted could be allocated again.

use std::borrow::Cow;

use super::layout::Layout;
use super::table;
use super::usage::{ALONE, METADATA};
use crate::Result;
use crate::disk::file::ImageFile;
use crate::disk::header::{Header, corrupt};

/// Checks that no cluster from `first` on has a lower refcount than `uses`. `first` must start a refcount block.
pub(super) fn cover(file: &ImageFile, header: &Header, layout: &Layout, first: u64, uses: &[u16]) -> Result<()> {
    let per_block = (header.cluster_size * 8) >> header.refcount_order;
    let mut bytes = vec![0; header.cluster_size as usize];
    for (block, uses) in (first / per_block..).zip(uses.chunks(per_block as usize)) {
        if uses.iter().all(|uses| *uses == 0) {
            continue;
        }
        match layout.refcount_blocks.get(block as usize) {
            None | Some(0) => bytes.fill(0),
            Some(offset) => table::read(file, *offset, &mut bytes)?,
        }
        for (index, uses) in (0..).zip(uses).filter(|(_, uses)| **uses > 0) {
            let cluster = block * per_block + index;
            let (what, uses) = match *uses {
                ALONE => ("its data", 1),
                METADATA => layout.clusters.get(&cluster).map_or(("", 1), |part| (part.what, part.references)),
                count => ("its compressed data", u32::from(count)),
            };
            let refcount = refcount(&bytes, header.refcount_order, index);
            if refcount < u64::from(uses) {
                let count = match refcount {
                    0 => Cow::from("no refcount"),
                    count => format!("a refcount of {count} for {uses} uses").into(),
                };
                let why = format!("{what} has {count}, at {:#x}", cluster * header.cluster_size);
                return Err(corrupt(file.path(), &why));
            }
        }
    }
    Ok(())
}

/// A refcount in a block of refcounts of 2^`order` bits.
fn refcount(block: &[u8], order: u32, index: u64) -> u64 {
    if order >= 3 {
        let width = 1 << (order - 3);
        let start = index as usize * width;
        let bytes = block.get(start..start + width).unwrap_or_default();
        return bytes.iter().fold(0, |count, byte| count << 8 | u64::from(*byte));
    }
    let bit = index << order;
    let byte = block.get((bit / 8) as usize).copied().unwrap_or_default();
    u64::from(byte >> (bit % 8)) & ((1 << (1 << order)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refcounts_of_all_widths_are_read() {
        let block = [0b1101_0010, 0x34, 0x56, 0x78, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
        let all =
            |order, indices: &[u64]| indices.iter().map(|index| refcount(&block, order, *index)).collect::<Vec<_>>();
        assert_eq!(all(0, &[0, 1, 2, 3, 4, 5, 6, 7, 8]), [0, 1, 0, 0, 1, 0, 1, 1, 0]);
        assert_eq!(all(1, &[0, 1, 2, 3, 4]), [2, 0, 1, 3, 0]);
        assert_eq!(all(2, &[0, 1, 2, 3]), [2, 13, 4, 3]);
        assert_eq!(all(3, &[0, 1]), [0xd2, 0x34]);
        assert_eq!(all(4, &[0, 1, 3]), [0xd234, 0x5678, 1]);
        assert_eq!(all(5, &[0, 1]), [0xd234_5678, 1]);
        assert_eq!(all(6, &[0, 1]), [0xd234_5678_0000_0001, 2]);
    }
}
