//! The location of an image's metadata according to its tables: each part aligned, inside the file, and without
//! overlap.

use std::collections::HashMap;
use std::ops::Range;

use super::extras;
use super::table::{self, COPIED, L1_RESERVED, OFFSET};
use crate::disk::file::{ImageFile, cannot};
use crate::disk::header::{Header, corrupt};
use crate::{Error, ErrorKind, Result};

/// A limit on metadata clusters above that of any useful image: the L2 tables of a pebibyte in clusters of 64 KiB.
/// Tracking them takes about 80 MiB.
const MAX_CLUSTERS: usize = 2 << 20;

/// The location of an image's metadata.
#[derive(Debug)]
pub(super) struct Layout {
    /// The clusters with metadata, by number.
    pub(super) clusters: HashMap<u64, Part>,
    /// The offsets of the active L2 tables, without those of snapshots.
    pub(super) l2_tables: Vec<u64>,
    /// The offsets of the refcount blocks, by index in the refcount table; 0 if there is none.
    pub(super) refcount_blocks: Vec<u64>,
}

/// A cluster of metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The name for messages.
    pub(super) what: &'static str,
    /// The number of references from tables.
    pub(super) references: u32,
    /// Whether a snapshot or bitmap needs it, so that it must not change.
    pub(super) kept: bool,
    /// Whether L1 tables of snapshots may also point to it.
    shareable: bool,
}

impl Part {
    fn new(what: &'static str) -> Self {
        Self { what, references: 1, kept: false, shareable: false }
    }

    fn kept(what: &'static str) -> Self {
        Self { kept: true, ..Self::new(what) }
    }
}

impl Layout {
    /// Reads all metadata.
    pub(super) fn read(file: &ImageFile, header: &Header) -> Result<Self> {
        let mut reader = Reader::new(file, header)?;
        reader.mappings()?;
        reader.refcounts()?;
        reader.snapshots()?;
        reader.bitmaps()?;
        Ok(reader.layout)
    }

    /// Reads the header and the mapping tables.
    pub(super) fn read_mappings(file: &ImageFile, header: &Header) -> Result<Self> {
        let mut reader = Reader::new(file, header)?;
        reader.mappings()?;
        Ok(reader.layout)
    }
}

struct Reader<'a> {
    file: &'a ImageFile,
    header: &'a Header,
    length: u64,
    layout: Layout,
}

impl<'a> Reader<'a> {
    fn new(file: &'a ImageFile, header: &'a Header) -> Result<Self> {
        let length = file.len().map_err(|error| cannot("measure", file.path(), error))?;
        let layout = Layout { clusters: HashMap::new(), l2_tables: Vec::new(), refcount_blocks: Vec::new() };
        Ok(Self { file, header, length, layout })
    }

    fn mappings(&mut self) -> Result<()> {
        let l1 = self.header.l1_table();
        self.claim(0..1, "it", Part::new("its header"))?;
        self.claim(l1.clone(), "its header", Part::new("its L1 table"))?;
        table::entries(self.file, l1, |_, entry| {
            if entry & L1_RESERVED != 0 {
                return Err(corrupt(self.file.path(), &format!("its L1 table has an impossible entry, {entry:#x}")));
            }
            if entry & OFFSET == 0 {
                return Ok(());
            }
            let offset = self.cluster("its L1 table", entry & OFFSET)?;
            self.layout.l2_tables.push(offset);
            let part = Part { shareable: entry & COPIED == 0, ..Part::new("an L2 table") };
            self.claim(offset..offset + 1, "its L1 table", part)
        })
    }

    fn refcounts(&mut self) -> Result<()> {
        let refcounts = self.header.refcount_table();
        self.claim(refcounts.clone(), "its header", Part::new("its refcount table"))?;
        table::entries(self.file, refcounts, |position, entry| {
            let offset = self.cluster("its refcount table", entry)?;
            self.layout.refcount_blocks.resize(position as usize, 0);
            self.layout.refcount_blocks.push(offset);
            self.claim(offset..offset + 1, "its refcount table", Part::new("a refcount block"))
        })
    }

    fn snapshots(&mut self) -> Result<()> {
        let (table, l1_tables) = extras::snapshots(self.file, self.header)?;
        self.claim(table, "its header", Part::kept("its snapshot table"))?;
        for l1 in l1_tables {
            self.cluster("its snapshot table", l1.start)?;
            self.claim(l1.clone(), "its snapshot table", Part::kept("the L1 table of a snapshot"))?;
            table::entries(self.file, l1, |_, entry| match entry & OFFSET {
                0 => Ok(()),
                offset => self.claim_for_snapshot(offset),
            })?;
        }
        Ok(())
    }

    fn bitmaps(&mut self) -> Result<()> {
        let Some(directory) = self.header.bitmap_directory.clone() else { return Ok(()) };
        self.cluster("its header", directory.start)?;
        self.claim(directory.clone(), "its header", Part::kept("its bitmap directory"))?;
        for table in extras::bitmap_tables(self.file, directory)? {
            self.cluster("its bitmap directory", table.start)?;
            self.claim(table, "its bitmap directory", Part::kept("a bitmap table"))?;
        }
        Ok(())
    }

    /// Checks that `offset`, found in `pointer`, is a valid cluster offset.
    fn cluster(&self, pointer: &str, offset: u64) -> Result<u64> {
        if !offset.is_multiple_of(self.header.cluster_size) {
            return Err(self.wrong(pointer, offset, "which is not where a cluster begins"));
        }
        if offset >= self.length {
            return Err(self.wrong(pointer, offset, "which is beyond the end of the file"));
        }
        Ok(offset)
    }

    /// Records the contents of a range, which must not overlap others.
    fn claim(&mut self, range: Range<u64>, pointer: &str, part: Part) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let size = self.header.cluster_size;
        for cluster in range.start / size..range.end.div_ceil(size) {
            self.room()?;
            if let Some(other) = self.layout.clusters.insert(cluster, part) {
                return Err(self.wrong(pointer, cluster * size, &format!("where {} is", other.what)));
            }
        }
        Ok(())
    }

    /// Records an L2 table of a snapshot, which the active disk or other snapshots may share.
    fn claim_for_snapshot(&mut self, offset: u64) -> Result<()> {
        let pointer = "the L1 table of a snapshot";
        let cluster = self.cluster(pointer, offset)? / self.header.cluster_size;
        self.room()?;
        let first = Part { references: 0, shareable: true, ..Part::kept("the L2 table of a snapshot") };
        let part = self.layout.clusters.entry(cluster).or_insert(first);
        if !part.shareable {
            let what = format!("where {} is", part.what);
            return Err(self.wrong(pointer, offset, &what));
        }
        (part.references, part.kept) = (part.references.saturating_add(1), true);
        Ok(())
    }

    fn room(&self) -> Result<()> {
        if self.layout.clusters.len() < MAX_CLUSTERS {
            return Ok(());
        }
        let path = self.file.path().display();
        let what = format!("disk image {path} has more than {MAX_CLUSTERS} clusters of tables");
        Err(Error::new(ErrorKind::UnsupportedImage, what)
            .with_remedy("convert it: qemu-img convert -O qcow2 -o cluster_size=64k OLD NEW"))
    }

    fn wrong(&self, pointer: &str, offset: u64, why: &str) -> Error {
        corrupt(self.file.path(), &format!("{pointer} points to {offset:#x}, {why}"))
    }
}
