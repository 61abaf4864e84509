//! Counting anew which clusters of an image are in use, after its writer was killed.
//!
//! The tables that say where data lies are right (see `ImageStorage`: they are on stable storage before anything points
//! to them), only the refcounts may lag behind. The new counts go to new clusters at the end of the file, and the header
//! turns to them in one small write, so a repair that is interrupted leaves the image as it was.

use std::io;

use super::mark;
use crate::disk::create::cannot;
use crate::disk::file::ImageFile;
use crate::disk::header::{Header, corrupt};
use crate::disk::segments::Segments;
use crate::{Error, Result};

/// Where an L1 entry or a plain L2 entry points to.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
/// All but the flag for zeroes.
const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;
/// Width of a refcount, as a logarithm, that everybody uses and that this writes.
const ORDER: u32 = 4;
/// Stands for a single use in which no other may share; compressed clusters share, and count up from 1.
const ALONE: u16 = u16::MAX;
/// No image that could be used has more, and 256 MiB are enough for counting them.
const MOST_CLUSTERS: u64 = 128 << 20;
const MAX_TABLE_BYTES: u64 = 8 << 20;
/// Where the header says where the refcount table is and how many clusters it has.
const TABLE_POINTER: u64 = 48;

/// Makes the refcounts of a dirty image right and takes the mark away.
///
/// Refuses an image whose tables contradict themselves, or which holds what this does not count.
pub(in crate::disk) fn repair(file: &ImageFile, header: &Header) -> Result<()> {
    let path = file.path();
    if header.has_extras || header.refcount_order != ORDER {
        return Err(corrupt(path, "it was not closed properly, and has snapshots, bitmaps or unusual refcounts"));
    }
    let length = file.len().map_err(|error| cannot("repair", path, error))?;
    let clusters = length.div_ceil(header.cluster_size);
    if clusters > MOST_CLUSTERS {
        return Err(corrupt(path, "it was not closed properly, and is too big to be repaired here"));
    }
    let counts = Counter { file, header, counts: vec![0; clusters as usize] }.count()?;
    write(file, header.cluster_size, &counts).map_err(|error| cannot("repair", path, error))?;
    tracing::warn!("disk image {} was not closed properly and has been repaired", path.display());
    Ok(())
}

struct Counter<'a> {
    file: &'a ImageFile,
    header: &'a Header,
    counts: Vec<u16>,
}

impl Counter<'_> {
    fn count(mut self) -> Result<Vec<u16>> {
        let Header { cluster_size, l1_offset, l1_entries, .. } = *self.header;
        self.use_alone(0)?;
        for cluster in 0..(l1_entries * 8).div_ceil(cluster_size) {
            self.use_alone(l1_offset + cluster * cluster_size)?;
        }
        for entry in self.table(l1_offset, l1_entries * 8)? {
            if entry & L1_RESERVED != 0 {
                return Err(self.contradiction("an L1 entry"));
            }
            if entry & OFFSET != 0 {
                self.use_alone(entry & OFFSET)?;
                self.count_l2(entry & OFFSET)?;
            }
        }
        Ok(self.counts)
    }

    fn count_l2(&mut self, table: u64) -> Result<()> {
        for entry in self.table(table, self.header.cluster_size)? {
            if entry & COMPRESSED != 0 {
                self.use_compressed(entry)?;
            } else if entry & L2_RESERVED != 0 {
                return Err(self.contradiction("an L2 entry"));
            } else if entry & OFFSET != 0 {
                self.use_alone(entry & OFFSET)?;
            }
        }
        Ok(())
    }

    fn use_alone(&mut self, offset: u64) -> Result<()> {
        let size = self.header.cluster_size;
        match self.counts.get_mut((offset / size) as usize) {
            Some(count @ 0) if offset.is_multiple_of(size) => *count = ALONE,
            _ => return Err(self.contradiction(&format!("the use of offset {offset:#x}"))),
        }
        Ok(())
    }

    /// A compressed cluster takes some sectors anywhere, and several may lie in one cluster of the file.
    fn use_compressed(&mut self, entry: u64) -> Result<()> {
        let size = self.header.cluster_size;
        let offset_bits = 70 - size.trailing_zeros();
        let entry = entry & (COMPRESSED - 1);
        let offset = entry & ((1 << offset_bits) - 1);
        let last = (offset & !511) + ((entry >> offset_bits) + 1) * 512 - 1;
        for cluster in offset / size..=last / size {
            match self.counts.get_mut(cluster as usize) {
                Some(count) if *count < ALONE - 1 => *count += 1,
                // The last sectors may be beyond the end of the file.
                None if cluster > offset / size => {}
                _ => return Err(self.contradiction(&format!("the use of offset {offset:#x}"))),
            }
        }
        Ok(())
    }

    fn table(&self, offset: u64, length: u64) -> Result<Vec<u64>> {
        let mut bytes = vec![0; length as usize];
        let read = self.file.read(&mut Segments::of_bytes(&mut bytes), offset);
        read.map_err(|error| cannot("repair", self.file.path(), error))?;
        let entry = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        Ok(bytes.chunks_exact(8).map(entry).collect())
    }

    fn contradiction(&self, what: &str) -> Error {
        corrupt(self.file.path(), &format!("it was not closed properly, and {what} contradicts the rest"))
    }
}

/// Writes refcount blocks and their table behind the last cluster, and makes the header point to them.
fn write(file: &ImageFile, cluster_size: u64, counts: &[u16]) -> io::Result<()> {
    let used = counts.len() as u64;
    let per_block = (cluster_size * 8) >> ORDER;
    let (mut blocks, mut tables) = (0, 0);
    // The new clusters must be counted as well, which may take more of them.
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
        Some(&ALONE) => 1,
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
