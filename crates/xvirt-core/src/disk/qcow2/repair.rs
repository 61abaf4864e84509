//! Recounts the used clusters of an image after its writer was killed.
//!
//! Only the refcounts may be stale: mapping tables are on stable storage before anything points to them (see
//! `ImageStorage`). The new refcounts go to new clusters at the end of the file, and one small write makes the header
//! point to them, so an interrupted repair leaves the image unchanged.

use std::io;

use super::layout::Layout;
use super::mark;
use super::usage::{self, ALONE, METADATA};
use crate::Result;
use crate::disk::file::{ImageFile, cannot};
use crate::disk::header::{Header, corrupt};
use crate::disk::segments::Segments;

/// Log2 of the refcount width that is common, and that this writes.
const ORDER: u32 = 4;
/// A limit above the size of any useful image; counting takes 256 MiB.
const MAX_CLUSTERS: u64 = 128 << 20;
const MAX_TABLE_BYTES: u64 = 8 << 20;
/// The offset of the refcount table's offset and cluster count in the header.
const TABLE_POINTER: u64 = 48;

/// Rebuilds the refcounts of a dirty image and clears its dirty bit.
///
/// Rejects an image with inconsistent tables, or with features that this does not count.
pub(in crate::disk) fn repair(file: &ImageFile, header: &Header) -> Result<()> {
    let path = file.path();
    if header.snapshots > 0 || header.has_bitmaps || header.refcount_order != ORDER {
        return Err(corrupt(path, "it was not closed properly, and has snapshots, bitmaps or unusual refcounts"));
    }
    let clusters = usage::clusters(file, header)?;
    if clusters > MAX_CLUSTERS {
        return Err(corrupt(path, "it was not closed properly, and is too big to be repaired here"));
    }
    let layout = Layout::read_mappings(file, header)?;
    let mut counts = usage::count(file, header, &layout, 0..clusters)?;
    let in_file = file.len().map_err(|error| cannot("repair", path, error))?.div_ceil(header.cluster_size) as usize;
    while counts.len() > in_file && counts.last() == Some(&0) {
        counts.pop();
    }
    write(file, header.cluster_size, &counts).map_err(|error| cannot("repair", path, error))?;
    tracing::warn!("disk image {} was not closed properly and has been repaired", path.display());
    Ok(())
}

/// Writes refcount blocks and their table after the last cluster of the file or in use, and makes the header point to
/// them.
fn write(file: &ImageFile, cluster_size: u64, counts: &[u16]) -> io::Result<()> {
    let used = counts.len() as u64;
    let per_block = (cluster_size * 8) >> ORDER;
    let (mut blocks, mut tables) = (0, 0);
    // The new clusters need refcounts themselves, which may take more clusters.
    loop {
        let needed = (used + blocks + tables).div_ceil(per_block);
        let needed_tables = (needed * 8).div_ceil(cluster_size);
        if (needed, needed_tables) == (blocks, tables) {
            break;
        }
        (blocks, tables) = (needed, needed_tables);
    }
    if tables * cluster_size > MAX_TABLE_BYTES {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    let total = used + blocks + tables;
    let count = |cluster: u64| match counts.get(cluster as usize) {
        Some(&(ALONE | METADATA)) => 1,
        Some(count) => *count,
        None => u16::from(cluster < total),
    };
    for block in 0..blocks {
        let first = block * per_block;
        let mut bytes: Vec<u8> = (first..first + per_block).flat_map(|cluster| count(cluster).to_be_bytes()).collect();
        file.write(&mut Segments::of_bytes(&mut bytes), (used + block) * cluster_size)?;
    }
    let entry = |block: u64| if block < blocks { (used + block) * cluster_size } else { 0 };
    let table = (used + blocks) * cluster_size;
    let mut bytes: Vec<u8> = (0..tables * cluster_size / 8).flat_map(|block| entry(block).to_be_bytes()).collect();
    file.write(&mut Segments::of_bytes(&mut bytes), table)?;
    file.sync()?;
    let mut pointer = [0; 12];
    let (offset, length) = pointer.split_at_mut(8);
    offset.copy_from_slice(&table.to_be_bytes());
    length.copy_from_slice(&(tables as u32).to_be_bytes());
    file.write(&mut Segments::of_bytes(&mut pointer), TABLE_POINTER)?;
    file.sync()?;
    mark::set(file, false)
}
