//! Counts the used clusters of an image from its tables.

use std::ops::Range;

use super::layout::Layout;
use super::table::{self, Mapping};
use crate::Result;
use crate::disk::file::{ImageFile, cannot};
use crate::disk::header::{Header, corrupt};

/// Marks a cluster of uncompressed data. Clusters of compressed data may be shared; their uses count up from 1.
pub(super) const ALONE: u16 = u16::MAX;
/// Marks a cluster of metadata.
pub(super) const METADATA: u16 = u16::MAX - 1;
/// The most clusters that the last compressed data may reach beyond the end of the file, because its length is
/// approximate.
const BEYOND: u64 = 3;

/// How many bytes of L2 tables to read ahead: enough to keep a disk busy.
const AHEAD: u64 = 8 << 20;

/// The number of clusters to which the tables of an image may point.
pub(super) fn clusters(file: &ImageFile, header: &Header) -> Result<u64> {
    let length = file.len().map_err(|error| cannot("measure", file.path(), error))?;
    Ok(length.div_ceil(header.cluster_size) + BEYOND)
}

/// Counts the uses of each cluster in a range of clusters. A shared cluster that must not be is an error.
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
    let mut ahead = layout.l2_tables.iter();
    let together = (AHEAD / header.cluster_size).max(1) as usize;
    ahead.by_ref().take(together).try_for_each(|table| advise(file, header, *table))?;
    for table in &layout.l2_tables {
        ahead.next().map_or(Ok(()), |table| advise(file, header, *table))?;
        table::entries(file, *table..table + header.cluster_size, |_, entry| counter.entry(entry))?;
    }
    Ok(counter.counts)
}

/// Reads an L2 table ahead, unless it is a hole, which the kernel would read as well.
fn advise(file: &ImageFile, header: &Header, table: u64) -> Result<()> {
    let end = table + header.cluster_size;
    let data = file.skip_hole(table).map_err(|error| cannot("read", file.path(), error))?;
    if let Some(data) = data.filter(|data| *data < end) {
        file.will_read(data, end - data);
    }
    Ok(())
}

struct Counter<'a> {
    file: &'a ImageFile,
    header: &'a Header,
    layout: &'a Layout,
    length: u64,
    /// Log2 of the cluster size, because division is slow.
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

    /// Compressed data occupies sectors at any offset, and several pieces of it may share a cluster.
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::process::Command;

    use super::*;
    use crate::disk::probe;
    use crate::disk::qcow2::table::COPIED;

    const CLUSTER: u64 = 2 << 20;
    const TABLES: u64 = 64;

    /// How many bytes of a file are in the page cache; `None` if that is unknown.
    fn cached(path: &std::path::Path) -> Option<u64> {
        let output = Command::new("fincore").args(["--bytes", "--noheadings", "--output", "RES"]).arg(path).output();
        let text = String::from_utf8(output.ok()?.stdout).unwrap();
        Some(text.trim().parse().unwrap())
    }

    #[test]
    fn tables_in_holes_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let image = File::create(&path).unwrap();
        let (l1, l2, refcounts) = (CLUSTER, 2 * CLUSTER, (2 + TABLES) * CLUSTER);
        let mut header = b"QFI\xfb\0\0\0\x03".to_vec();
        header.resize(104, 0);
        let numbers: [(usize, &[u8]); 7] = [
            (20, &21_u32.to_be_bytes()),
            (24, &(TABLES * CLUSTER / 8 * CLUSTER).to_be_bytes()),
            (36, &(TABLES as u32).to_be_bytes()),
            (40, &l1.to_be_bytes()),
            (48, &refcounts.to_be_bytes()),
            (56, &1_u32.to_be_bytes()),
            (96, &[0, 0, 0, 4, 0, 0, 0, 104]),
        ];
        for (at, number) in numbers {
            header[at..at + number.len()].copy_from_slice(number);
        }
        image.write_all_at(&header, 0).unwrap();
        let entries: Vec<_> = (0..TABLES).flat_map(|n| (COPIED | (l2 + n * CLUSTER)).to_be_bytes()).collect();
        image.write_all_at(&entries, l1).unwrap();
        image.set_len(refcounts + CLUSTER).unwrap();

        let file = ImageFile::open(&path, false).unwrap();
        let header = probe::header(&file).unwrap();
        let layout = Layout::read_mappings(&file, &header).unwrap();
        assert_eq!(layout.l2_tables.len() as u64, TABLES);
        let Some(before) = cached(&path) else { return println!("SKIPPED tables_in_holes_are_not_read: no fincore") };
        count(&file, &header, &layout, 0..clusters(&file, &header).unwrap()).unwrap();
        assert_eq!(cached(&path), Some(before));
    }
}
