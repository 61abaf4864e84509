//! Writes a disk with one FAT12 file system and a few files in its root directory; equal files yield equal bytes.
//!
//! The layout is fixed ("FAT: General Overview of On-Disk Format", version 1.03): reserved sectors, two tables of
//! maximum length, the root directory, and the files in sequence. The disk uses FAT rather than ISO 9660, because every
//! kernel that boots from an EFI system partition can read it, including long names.

const SECTOR: usize = 512;
const CLUSTER: usize = 4096;
const RESERVED_SECTORS: u16 = 8;
const TABLES: u8 = 2;
const TABLE_SECTORS: u16 = 12;
const TABLE_ENTRIES: usize = 4096;
const ROOT_ENTRIES: u16 = 512;
const ENTRY: usize = 32;

/// The unit of disk sizes, which is also a multiple of tracks and cylinders.
const STEP: usize = 1 << 20;
/// The largest size with few enough clusters for FAT12.
const MAX_SIZE: usize = 15 << 20;
const SECTORS_PER_TRACK: u16 = 32;
const HEADS: u16 = 64;

/// The media descriptor of fixed disks, in the first table entry and the boot sector.
const MEDIA: u8 = 0xf8;
const END_OF_CHAIN: u16 = 0xfff;
const FIRST_CLUSTER: u16 = 2;
const VOLUME_ID: u32 = 0x5eed_0001;
/// 1 January 1980, the earliest date of FAT.
const DATE: u16 = 1 << 5 | 1;

/// A file for the root directory.
pub(super) struct File<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

impl<'a> File<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, bytes: text.as_bytes() }
    }

    fn clusters(&self) -> usize {
        self.bytes.len().div_ceil(CLUSTER)
    }
}

/// The whole disk; `None` if the files are too large.
pub(super) fn image(label: &[u8; 11], files: &[File<'_>]) -> Option<Vec<u8>> {
    let data = (usize::from(RESERVED_SECTORS) + usize::from(TABLES) * usize::from(TABLE_SECTORS)) * SECTOR
        + usize::from(ROOT_ENTRIES) * ENTRY;
    let clusters: usize = files.iter().map(File::clusters).sum();
    let size = clusters.checked_mul(CLUSTER)?.checked_add(data)?.checked_next_multiple_of(STEP)?;
    if size > MAX_SIZE {
        return None;
    }
    let mut disk = boot_sector(label, u16::try_from(size / SECTOR).ok()?);
    disk.resize(usize::from(RESERVED_SECTORS) * SECTOR, 0);
    let table = table(files);
    for _ in 0..TABLES {
        disk.extend_from_slice(&table);
    }
    disk.extend_from_slice(&root_directory(label, files)?);
    disk.resize(data, 0);
    for file in files {
        disk.extend_from_slice(file.bytes);
        disk.resize(disk.len().next_multiple_of(CLUSTER), 0);
    }
    disk.resize(size, 0);
    Some(disk)
}

fn boot_sector(label: &[u8; 11], sectors: u16) -> Vec<u8> {
    let mut sector = Vec::with_capacity(SECTOR);
    sector.extend_from_slice(&[0xeb, 0x3c, 0x90]); // a jump over the parameters
    sector.extend_from_slice(b"XVIRT   ");
    sector.extend_from_slice(&(SECTOR as u16).to_le_bytes());
    sector.push((CLUSTER / SECTOR) as u8);
    sector.extend_from_slice(&RESERVED_SECTORS.to_le_bytes());
    sector.push(TABLES);
    sector.extend_from_slice(&ROOT_ENTRIES.to_le_bytes());
    sector.extend_from_slice(&sectors.to_le_bytes());
    sector.push(MEDIA);
    sector.extend_from_slice(&TABLE_SECTORS.to_le_bytes());
    sector.extend_from_slice(&SECTORS_PER_TRACK.to_le_bytes());
    sector.extend_from_slice(&HEADS.to_le_bytes());
    sector.extend_from_slice(&[0; 8]); // hidden sectors, and the 32-bit number of sectors
    sector.extend_from_slice(&[0x80, 0, 0x29]); // a fixed disk, and the signature of the next three fields
    sector.extend_from_slice(&VOLUME_ID.to_le_bytes());
    sector.extend_from_slice(label);
    sector.extend_from_slice(b"FAT12   ");
    sector.resize(SECTOR - 2, 0);
    sector.extend_from_slice(&[0x55, 0xaa]);
    sector
}

/// The allocation table: every file is a contiguous chain.
fn table(files: &[File<'_>]) -> Vec<u8> {
    let mut entries: Vec<u16> = vec![0xf00 | u16::from(MEDIA), END_OF_CHAIN];
    for file in files {
        let next = entries.len() as u16 + 1;
        let count = file.clusters() as u16;
        entries.extend(next..(next + count).saturating_sub(1));
        entries.extend((count > 0).then_some(END_OF_CHAIN));
    }
    entries.resize(TABLE_ENTRIES, 0);
    let packed = |pair: &[u16]| match *pair {
        [a, b] => [a as u8, (a >> 8) as u8 | (b << 4) as u8, (b >> 4) as u8],
        _ => [0; 3],
    };
    entries.chunks_exact(2).flat_map(packed).collect()
}

/// The label, and for each file its long name and its short name.
fn root_directory(label: &[u8; 11], files: &[File<'_>]) -> Option<Vec<u8>> {
    const LABEL: u8 = 0x08;
    const ARCHIVE: u8 = 0x20;
    let mut entries = short_entry(label, LABEL, 0, 0);
    let mut cluster = FIRST_CLUSTER;
    for (number, file) in files.iter().enumerate() {
        let short = short_name(file.name, number + 1);
        let first = if file.bytes.is_empty() { 0 } else { cluster };
        entries.extend_from_slice(&long_name(file.name, checksum(&short)));
        entries.extend_from_slice(&short_entry(&short, ARCHIVE, first, u32::try_from(file.bytes.len()).ok()?));
        cluster += u16::try_from(file.clusters()).ok()?;
    }
    Some(entries)
}

fn short_entry(name: &[u8; 11], attributes: u8, cluster: u16, length: u32) -> Vec<u8> {
    let mut entry = Vec::with_capacity(ENTRY);
    entry.extend_from_slice(name);
    entry.extend_from_slice(&[attributes, 0, 0, 0, 0]); // creation time: the start of the day
    entry.extend_from_slice(&DATE.to_le_bytes()); // creation date
    entry.extend_from_slice(&DATE.to_le_bytes()); // access date
    entry.extend_from_slice(&[0; 4]); // the upper half of the cluster, and the modification time
    entry.extend_from_slice(&DATE.to_le_bytes()); // modification date
    entry.extend_from_slice(&cluster.to_le_bytes());
    entry.extend_from_slice(&length.to_le_bytes());
    entry
}

/// A unique short name: `USER-D~2` for the second file, `user-data`.
fn short_name(name: &str, number: usize) -> [u8; 11] {
    let tail = format!("~{number}");
    let start = name.bytes().take(8 - tail.len().min(8)).map(|byte| byte.to_ascii_uppercase());
    let mut short = [b' '; 11];
    for (place, byte) in short.iter_mut().zip(start.chain(tail.bytes())) {
        *place = byte;
    }
    short
}

fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The entries of a long name, with 13 characters each, in reverse order.
fn long_name(name: &str, checksum: u8) -> Vec<u8> {
    const LONG: u8 = 0x0f;
    const LAST: u8 = 0x40;
    const PIECE: usize = 13;
    let mut units: Vec<u16> = name.encode_utf16().collect();
    if !units.len().is_multiple_of(PIECE) {
        units.push(0);
        units.resize(units.len().next_multiple_of(PIECE), 0xffff);
    }
    let pieces = units.len() / PIECE;
    let mut entries = Vec::with_capacity(pieces * ENTRY);
    for (number, piece) in units.chunks_exact(PIECE).enumerate().rev() {
        let is_last = number + 1 == pieces;
        let mut bytes = piece.iter().flat_map(|unit| unit.to_le_bytes());
        entries.push((number as u8 + 1) | if is_last { LAST } else { 0 });
        entries.extend(bytes.by_ref().take(10));
        entries.extend_from_slice(&[LONG, 0, checksum]);
        entries.extend(bytes.by_ref().take(12));
        entries.extend_from_slice(&[0, 0]);
        entries.extend(bytes);
    }
    entries
}
