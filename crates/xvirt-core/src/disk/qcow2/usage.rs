//! Which clusters of an image are in use, counted from its tables.

use std::ops::Range;

use super::layout::Layout;
use super::table::{self, Mapping};
use crate::Result;
use crate::disk::file::{ImageFile, cannot};
use crate::disk::header::{Header, corrupt};

/// Stands for the data of one cluster of the disk. Compressed data shares clusters, and its uses count up from 1.
pub(super) const ALONE: u16 = u16::MAX;
/// Stands for metadata.
pub(super) const METADATA: u16 = u16::MAX - 1;
/// How many clusters the last compressed data may take beyond the end of the file: its length is only known roughly.
const BEYOND: u64 = 3;

/// How many clusters the tables of an image may point to.
pub(super) fn clusters(file: &ImageFile, header: &Header) -> Result<u64> {
    let length = file.len().map_err(|error| cannot("measure", file.path(), error))?;
    Ok(length.div_ceil(header.cluster_size) + BEYOND)
}

/// Counts the uses of each cluster in a range of clusters. Two uses of which one must be alone are an error.
pub(super) fn count(file: &ImageFile, header: &Header, layout: &Layout, clusters: Range<u64>) -> Result<Vec<u16>> {
    let length = file.len().map_err(|error| cannot("measure", file.path(), error))?;
    let counts = vec![0; clusters.end.saturating_sub(clusters.start) as usize];
    let bits = header.cluster_size.trailing_zeros();
    let mut counter = Counter { file, header, layout, length, bits, first: clusters.start, counts };
    for cluster in layout.clusters.keys() {
        if let Some(count) = counter.count(*cluster) {
            *count = METADATA;
        }
    }
    layout.l2_tables.iter().for_each(|table| file.will_read(*table, header.cluster_size));
    for table in &layout.l2_tables {
        table::entries(file, *table..table + header.cluster_size, |_, entry| counter.entry(entry))?;
    }
    Ok(counter.counts)
}

struct Counter<'a> {
    file: &'a ImageFile,
    header: &'a Header,
    layout: &'a Layout,
    length: u64,
    /// Logarithm of the size of a cluster: dividing is slow.
    bits: u32,
    first: u64,
    counts: Vec<u16>,
}

impl Counter<'_> {
    fn count(&mut self, cluster: u64) -> Option<&mut u16> {
        self.counts.get_mut(cluster.checked_sub(self.first)? as usize)
    }

    fn entry(&mut self, entry: u64) -> Result<()> {
        match Mapping::of(entry, self.header) {
            Mapping::Nothing => Ok(()),
            Mapping::Cluster(offset) => self.alone(offset),
            Mapping::Compressed(first, last) => self.compressed(first, last),
            Mapping::Reserved => {
                Err(corrupt(self.file.path(), &format!("an L2 table has an impossible entry, {entry:#x}")))
            }
        }
    }

    fn alone(&mut self, offset: u64) -> Result<()> {
        if offset & (self.header.cluster_size - 1) != 0 {
            return Err(self.wrong(offset, "which is not where a cluster begins"));
        }
        self.inside(offset)?;
        match self.count(offset >> self.bits) {
            Some(count) if *count > 0 => Err(self.taken(offset)),
            Some(count) => {
                *count = ALONE;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Compressed data takes some sectors anywhere, and several pieces of it may lie in one cluster of the file.
    fn compressed(&mut self, first: u64, last: u64) -> Result<()> {
        self.inside(first)?;
        for cluster in first >> self.bits..=last >> self.bits {
            match self.count(cluster) {
                Some(count) if *count >= METADATA - 1 => return Err(self.taken(cluster << self.bits)),
                Some(count) => *count += 1,
                None => {}
            }
        }
        Ok(())
    }

    fn inside(&self, offset: u64) -> Result<()> {
        if offset < self.length { Ok(()) } else { Err(self.wrong(offset, "which is beyond the end of the file")) }
    }

    fn taken(&self, offset: u64) -> crate::Error {
        match self.layout.clusters.get(&(offset >> self.bits)) {
            Some(part) => self.wrong(offset, &format!("where {} is", part.what)),
            None => self.wrong(offset, "where other data is"),
        }
    }

    fn wrong(&self, offset: u64, why: &str) -> crate::Error {
        corrupt(self.file.path(), &format!("an L2 table points to {offset:#x}, {why}"))
    }
}
