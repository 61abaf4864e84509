//! Tracks the metadata of an image while the image is written, and guards it.
//!
//! An image is opened for writing only if its tables are consistent (see `check`), and the library keeps them so. This
//! code does not rely on that: it follows the pointers as they are written, and refuses guest data over metadata, and
//! pointers to clusters that already hold another table.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::layout::Layout;
use super::table::OFFSET;
use crate::disk::file::ImageFile;
use crate::disk::header::Header;
use crate::disk::segments::Segments;

/// The length of the header part that holds the pointers, in bytes.
const POINTERS: usize = 60;

/// The state of a cluster that is not data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A table without a pointer to it so far.
    New,
    /// The header, or a table of the active disk.
    Used,
    /// A table that must not change, because a snapshot or bitmap needs it.
    Kept,
}

/// The clusters of an image that hold metadata.
#[derive(Debug)]
pub(super) struct Metadata {
    cluster_size: u64,
    map: RwLock<Map>,
}

#[derive(Debug)]
struct Map {
    clusters: HashMap<u64, State>,
    /// The ranges of the tables to which the header points, in bytes.
    tables: Tables,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tables {
    l1: Range<u64>,
    refcounts: Range<u64>,
}

/// The effect of a write on the pointers, once it is complete.
enum Change {
    Nothing,
    /// The target of an entry's old value is released, and that of its new value is in use.
    Entry(u64, u64),
    Header(Tables),
}

impl Metadata {
    pub(super) fn new(layout: &Layout, header: &Header) -> Self {
        let state = |kept| if kept { State::Kept } else { State::Used };
        let clusters = layout.clusters.iter().map(|(cluster, part)| (*cluster, state(part.kept))).collect();
        let tables = Tables { l1: header.l1_table(), refcounts: header.refcount_table() };
        Self { cluster_size: header.cluster_size, map: RwLock::new(Map { clusters, tables }) }
    }

    /// Refuses guest data in a range with metadata.
    pub(super) fn refuse_data(&self, offset: u64, length: u64) -> io::Result<()> {
        let map = self.map();
        for cluster in self.clusters(offset..offset.saturating_add(length)) {
            if matches!(map.clusters.get(&cluster), Some(State::Used | State::Kept)) {
                return Err(contradiction("data would overwrite metadata", cluster * self.cluster_size));
            }
        }
        Ok(())
    }

    /// Calls `write` to write `length` bytes of metadata at `offset`, if metadata may be there. `entry` has these bytes
    /// unless they are whole clusters.
    pub(super) fn write(
        &self,
        file: &ImageFile,
        offset: u64,
        length: u64,
        entry: Option<&[u8]>,
        write: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let clusters = self.clusters(offset..offset.saturating_add(length));
        // Unlocked during the write: existing tables are written while others are in use, and new ones are not in use
        // yet.
        let (change, known) = {
            let map = self.map();
            for cluster in clusters.clone() {
                let kept = map.clusters.get(&cluster) == Some(&State::Kept);
                if kept || cluster == 0 && length >= self.cluster_size {
                    return Err(contradiction("a table would overwrite other metadata", cluster * self.cluster_size));
                }
            }
            let change = entry.map_or(Ok(Change::Nothing), |bytes| self.change(&map, file, offset, bytes))?;
            (change, clusters.clone().all(|cluster| map.clusters.contains_key(&cluster)))
        };
        write()?;
        if !known || !matches!(change, Change::Nothing) {
            let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
            clusters.for_each(|cluster| _ = map.clusters.entry(cluster).or_insert(State::New));
            self.apply(&mut map, change);
        }
        Ok(())
    }

    /// The change that a small write makes. Refuses a pointer to anything but a new table.
    fn change(&self, map: &Map, file: &ImageFile, offset: u64, bytes: &[u8]) -> io::Result<Change> {
        if let (0, Some(header)) = (offset, bytes.first_chunk()) {
            let tables = self.tables_in(header);
            for (new, old) in [(&tables.l1, &map.tables.l1), (&tables.refcounts, &map.tables.refcounts)] {
                if new != old {
                    self.are_new(map, new.clone())?;
                }
            }
            return Ok(if tables == map.tables { Change::Nothing } else { Change::Header(tables) });
        }
        let is_entry = map.tables.l1.contains(&offset) || map.tables.refcounts.contains(&offset);
        let (Ok(entry), true) = (bytes.try_into(), is_entry) else {
            return Err(contradiction("a piece of metadata would be written where there is no table", offset));
        };
        let mut old = [0; 8];
        file.read(&mut Segments::of_bytes(&mut old), offset)?;
        let (old, new) = (u64::from_be_bytes(old) & OFFSET, u64::from_be_bytes(entry) & OFFSET);
        if old == new {
            return Ok(Change::Nothing);
        }
        self.are_new(map, new..new + 1)?;
        Ok(Change::Entry(old, new))
    }

    fn are_new(&self, map: &Map, range: Range<u64>) -> io::Result<()> {
        match self.clusters(range).find(|cluster| map.clusters.get(cluster) != Some(&State::New)) {
            Some(cluster) => Err(contradiction("a table would take the place of another", cluster * self.cluster_size)),
            None => Ok(()),
        }
    }

    fn apply(&self, map: &mut Map, change: Change) {
        match change {
            Change::Nothing => {}
            Change::Entry(old, new) => {
                if old != 0 {
                    self.forget(map, old..old + 1);
                }
                map.clusters.insert(new / self.cluster_size, State::Used);
            }
            Change::Header(tables) => {
                let old = std::mem::replace(&mut map.tables, tables);
                for (old, new) in [(old.l1, map.tables.l1.start), (old.refcounts, map.tables.refcounts.start)] {
                    if old.start != new {
                        self.forget(map, old);
                    }
                }
                // The blocks of a new refcount table are in use from the start.
                map.clusters.values_mut().filter(|state| **state == State::New).for_each(|state| *state = State::Used);
            }
        }
    }

    /// Records that a table was replaced, so that its clusters may become data.
    fn forget(&self, map: &mut Map, table: Range<u64>) {
        for cluster in self.clusters(table) {
            if map.clusters.get(&cluster) == Some(&State::Used) {
                map.clusters.remove(&cluster);
            }
        }
    }

    /// The ranges of the tables according to the header.
    fn tables_in(&self, header: &[u8; POINTERS]) -> Tables {
        let number = |range: Range<usize>| {
            header.get(range).unwrap_or_default().iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let (l1, refcounts) = (number(40..48), number(48..56));
        let end = |start: u64, length: u64| start.saturating_add(length);
        Tables {
            l1: l1..end(l1, number(36..40) * 8),
            refcounts: refcounts..end(refcounts, number(56..60) * self.cluster_size),
        }
    }

    fn clusters(&self, range: Range<u64>) -> Range<u64> {
        range.start / self.cluster_size..range.end.div_ceil(self.cluster_size)
    }

    fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn contradiction(what: &str, offset: u64) -> io::Error {
    io::Error::other(format!("the tables of the image contradict each other: {what}, at {offset:#x}"))
}
