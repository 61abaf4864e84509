//! FAT12, FAT16 and FAT32 with long names, as used for EFI system partitions and the boot partitions of small systems.

use std::io;
use std::ops::Range;

use super::run::{Run, read_runs};
use super::tree::{NodeKind, Tree};
use super::{MAX_DIRECTORY, corrupt};
use crate::boot::budget::Work;
use crate::boot::window::{Window, le16, le32};

/// A FAT file system in a partition. All positions are in bytes.
#[derive(Debug)]
pub(super) struct Fat<'d> {
    window: Window<'d>,
    serial: String,
    label: String,
    width: Width,
    cluster_size: u64,
    clusters: u32,
    table: u64,
    data: u64,
    root: Place,
}

/// The width of an entry of the allocation table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// The start of a file.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The root directory of FAT12 and FAT16: position and length.
    Fixed(u64, u64),
    Cluster(u32),
}

/// A file or directory.
#[derive(Clone, Debug)]
pub(super) struct Node {
    name: String,
    is_directory: bool,
    length: u64,
    place: Place,
}

mod attribute {
    pub(super) const LABEL: u8 = 0x08;
    pub(super) const DIRECTORY: u8 = 0x10;
    /// An entry with a part of a long name.
    pub(super) const LONG: u8 = 0x0f;
    pub(super) const MASK: u8 = 0x3f;
}

impl<'d> Fat<'d> {
    /// Opens the file system, or returns the window if it contains none.
    pub(super) fn open(window: Window<'d>) -> io::Result<Result<Self, Window<'d>>> {
        if window.length() < 512 {
            return Ok(Err(window));
        }
        let boot = window.read_vec(0, 512)?;
        let sector = u64::from(le16(&boot, 11));
        let (per_cluster, tables) = (u64::from(boot[13]), u64::from(boot[16]));
        let reserved = u64::from(le16(&boot, 14));
        let plausible = le16(&boot, 510) == 0xaa55
            && sector.is_power_of_two()
            && (512..=4096).contains(&sector)
            && per_cluster.is_power_of_two()
            && (boot[21] == 0xf0 || boot[21] >= 0xf8)
            && reserved > 0
            && (1..=4).contains(&tables);
        if !plausible {
            return Ok(Err(window));
        }
        let or = |small: u16, large: u32| if small == 0 { u64::from(large) } else { small.into() };
        let sectors_per_table = or(le16(&boot, 22), le32(&boot, 36));
        let sectors = or(le16(&boot, 19), le32(&boot, 32)).min(window.length() / sector);
        let root_length = u64::from(le16(&boot, 17)) * 32;
        let root_start = reserved + tables * sectors_per_table;
        let data_start = root_start + root_length.div_ceil(sector);
        let clusters = sectors.saturating_sub(data_start) / per_cluster;
        let width = match clusters {
            _ if le16(&boot, 22) == 0 => Width::Fat32,
            0..4085 => Width::Fat12,
            _ => Width::Fat16,
        };
        let (root, serial, label) = match width {
            Width::Fat32 => (Place::Cluster(le32(&boot, 44)), le32(&boot, 67), &boot[71..82]),
            _ => (Place::Fixed(root_start * sector, root_length), le32(&boot, 39), &boot[43..54]),
        };
        let mut fat = Self {
            serial: format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff),
            label: String::from_utf8_lossy(label).trim_end().to_owned(),
            width,
            cluster_size: per_cluster * sector,
            clusters: u32::try_from(clusters).unwrap_or(u32::MAX).min(0x0fff_fff0),
            table: reserved * sector,
            data: data_start * sector,
            root,
            window,
        };
        if clusters == 0 {
            return Err(corrupt("the FAT file system has no room for files"));
        }
        if let Some(label) = fat.nodes(root)?.1 {
            fat.label = label;
        }
        Ok(Ok(fat))
    }

    /// The next cluster of a chain; `None` at its end.
    fn next(&self, cluster: u32) -> io::Result<Option<u32>> {
        let index = u64::from(cluster);
        let entry = |offset, length| self.window.read_vec(self.table + offset, length);
        let (next, end) = match self.width {
            Width::Fat12 => {
                let pair = le16(&entry(index * 3 / 2, 2)?, 0);
                (u32::from(if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }), 0xff8)
            }
            Width::Fat16 => (le16(&entry(index * 2, 2)?, 0).into(), 0xfff8),
            Width::Fat32 => (le32(&entry(index * 4, 4)?, 0) & 0x0fff_ffff, 0x0fff_fff8),
        };
        Ok((next < end).then_some(next))
    }

    fn position(&self, cluster: u32) -> io::Result<u64> {
        let index = cluster.checked_sub(2).filter(|index| *index < self.clusters);
        let index = index.ok_or_else(|| corrupt("a cluster number is outside the FAT file system"))?;
        Ok(self.data + u64::from(index) * self.cluster_size)
    }

    /// The byte runs of a range of a file, or less if the chain ends early.
    fn chain(&self, place: Place, range: Range<u64>) -> io::Result<Vec<Run>> {
        let mut cluster = match place {
            Place::Fixed(start, length) => {
                return Ok(vec![Run { logical: 0, physical: start, count: length.min(range.end) }]);
            }
            Place::Cluster(cluster) => cluster,
        };
        let mut runs: Vec<Run> = Vec::new();
        let mut logical = 0;
        while logical < range.end {
            let (physical, count) = (self.position(cluster)?, self.cluster_size.min(range.end - logical));
            if logical + count > range.start {
                match runs.last_mut() {
                    Some(last) if last.physical + last.count == physical => last.count += count,
                    _ => runs.push(Run { logical, physical, count }),
                }
            }
            logical += count;
            match self.next(cluster)? {
                Some(next) => cluster = next,
                None => break,
            }
        }
        Ok(runs)
    }

    /// The entries of a directory, and the label if it is the root.
    fn nodes(&self, directory: Place) -> io::Result<(Vec<Node>, Option<String>)> {
        let (mut nodes, mut label) = (Vec::new(), None);
        let mut long = LongName::default();
        // The directory size limit ends a looping chain.
        for run in self.chain(directory, 0..MAX_DIRECTORY)? {
            let bytes = self.window.read_vec(run.physical, run.count as usize)?;
            self.window.spend(Work::DirectoryEntries, run.count / 32)?;
            for entry in bytes.chunks_exact(32) {
                let attributes = entry[11] & attribute::MASK;
                match entry[0] {
                    0 => return Ok((nodes, label)),
                    0xe5 => long.clear(),
                    _ if attributes == attribute::LONG => long.add(entry),
                    _ if attributes & attribute::LABEL != 0 => {
                        label = Some(String::from_utf8_lossy(&entry[..11]).trim_end().to_owned());
                        long.clear();
                    }
                    b'.' => long.clear(),
                    _ => nodes.push(self.node(entry, long.take(&entry[..11]))),
                }
            }
        }
        Ok((nodes, label))
    }

    fn node(&self, entry: &[u8], long_name: Option<String>) -> Node {
        let high = if self.width == Width::Fat32 { u32::from(le16(entry, 20)) << 16 } else { 0 };
        Node {
            name: long_name.unwrap_or_else(|| short_name(entry)),
            is_directory: entry[11] & attribute::DIRECTORY != 0,
            length: le32(entry, 28).into(),
            place: Place::Cluster(u32::from(le16(entry, 26)) | high),
        }
    }
}

impl Tree for Fat<'_> {
    type Node = Node;

    fn window(&self) -> &Window<'_> {
        &self.window
    }

    fn uuid(&self) -> &str {
        &self.serial
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn grub_name(&self) -> &'static str {
        "fat"
    }

    fn root(&self) -> io::Result<Node> {
        Ok(Node { name: String::new(), is_directory: true, length: 0, place: self.root })
    }

    fn kind(&self, node: &Node) -> NodeKind {
        if node.is_directory { NodeKind::Directory } else { NodeKind::File }
    }

    fn length(&self, node: &Node) -> u64 {
        node.length
    }

    /// Names are case-insensitive.
    fn find(&self, directory: &Node, name: &[u8]) -> io::Result<Option<Node>> {
        let wanted = String::from_utf8_lossy(name).to_lowercase();
        Ok(self.nodes(directory.place)?.0.into_iter().find(|node| node.name.to_lowercase() == wanted))
    }

    fn names(&self, directory: &Node) -> io::Result<Vec<Vec<u8>>> {
        Ok(self.nodes(directory.place)?.0.into_iter().map(|node| node.name.into_bytes()).collect())
    }

    fn link_target(&self, _: &Node) -> io::Result<Vec<u8>> {
        Err(corrupt("FAT has no symbolic links"))
    }

    fn runs(&self, file: &Node, range: Range<u64>) -> io::Result<Vec<Run>> {
        let runs = self.chain(file.place, range.clone())?;
        let end = runs.last().map_or(0, |run| run.logical + run.count);
        if end < range.end && !range.is_empty() {
            return Err(corrupt("the cluster chain of a file is shorter than the file"));
        }
        Ok(runs)
    }

    fn read_runs(&self, runs: &[Run], offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let read = |start, skipped, part: &mut [u8]| self.window.read(start + skipped, part);
        read_runs(runs, 1, offset, buffer, &self.window, read)
    }

    fn unit(&self) -> u64 {
        1
    }

    fn check_own_blocks(&self, _: &Node) -> io::Result<()> {
        Ok(())
    }

    fn write_run(&self, run: &Run, _: &[u8], bytes: &[u8]) -> io::Result<()> {
        self.window.write(run.physical, bytes)
    }
}

/// A short (8.3) name, with the two lower-case flags of Windows NT and Linux.
fn short_name(entry: &[u8]) -> String {
    let part = |bytes: &[u8], is_lower: bool| {
        let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
        if is_lower { text.to_lowercase() } else { text }
    };
    let base = part(&entry[..8], entry[12] & 0x08 != 0);
    let extension = part(&entry[8..11], entry[12] & 0x10 != 0);
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// A long name, assembled from the entries before the short one.
#[derive(Default)]
struct LongName {
    /// The parts found so far, in reverse order.
    units: Vec<[u16; 13]>,
    checksum: u8,
    /// The number of the next expected part.
    expected: u8,
}

impl LongName {
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn add(&mut self, entry: &[u8]) {
        let number = entry[0] & 0x1f;
        if entry[0] & 0x40 != 0 {
            *self = Self { units: Vec::new(), checksum: entry[13], expected: number };
        }
        if number == 0 || number != self.expected || entry[13] != self.checksum {
            return self.clear();
        }
        self.expected -= 1;
        const PLACES: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
        self.units.push(PLACES.map(|place| le16(entry, place)));
    }

    /// The name, if it is complete and its checksum matches the short name.
    fn take(&mut self, short: &[u8]) -> Option<String> {
        let Self { units, checksum, expected } = std::mem::take(self);
        let sum = short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        if units.is_empty() || expected != 0 || sum != checksum {
            return None;
        }
        let units = units.into_iter().rev().flatten().take_while(|unit| *unit != 0);
        Some(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
    }
}
