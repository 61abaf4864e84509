//! GUID partition tables (UEFI 2.10, chapter 5).

use std::io;

use super::{Gpt, Partition, Scheme};
use crate::boot::window::{Window, le16, le32, le64};

const SIGNATURE: &[u8] = b"EFI PART";

/// The partitions that Linux gives a device node on one disk; it ignores later entries too.
const MAX_PARTITIONS: usize = 255;

/// The largest supported entry array.
const MAX_TABLE: u64 = 4 << 20;

/// The result of looking for a GPT.
pub(super) enum Found {
    Table(Vec<Partition>),
    /// There is a header, but neither copy of the table is valid.
    Damaged(&'static str),
    None,
}

/// Reads the table: the primary copy if it is valid, otherwise the backup at the end of the disk.
pub(super) fn read(window: &Window<'_>) -> io::Result<Found> {
    let mut damage = None;
    for sector in [512, 4096] {
        let last = (window.length() / sector).saturating_sub(1);
        for lba in [1, last] {
            match read_copy(window, sector, lba)? {
                Copy::Whole(partitions) => return Ok(Found::Table(partitions)),
                Copy::Damaged(why) => damage = damage.or(Some(why)),
                Copy::None => {}
            }
        }
    }
    Ok(damage.map_or(Found::None, Found::Damaged))
}

enum Copy {
    Whole(Vec<Partition>),
    Damaged(&'static str),
    None,
}

fn read_copy(window: &Window<'_>, sector: u64, lba: u64) -> io::Result<Copy> {
    let Some(offset) = lba.checked_mul(sector) else { return Ok(Copy::None) };
    if offset + 512 > window.length() {
        return Ok(Copy::None);
    }
    let header = window.read_vec(offset, 512)?;
    if !header.starts_with(SIGNATURE) {
        return Ok(Copy::None);
    }
    let header_size = le32(&header, 12) as usize;
    let Some(covered) = header.get(..header_size).filter(|_| header_size >= 92) else {
        return Ok(Copy::Damaged("the header has an invalid size"));
    };
    let mut covered = covered.to_vec();
    covered[16..20].fill(0);
    if crc32(&covered) != le32(&header, 16) {
        return Ok(Copy::Damaged("the header's checksum is wrong"));
    }
    let table_lba = le64(&header, 72);
    let count = le32(&header, 80) as usize;
    let entry_size = le32(&header, 84) as usize;
    let table_size = (count as u64).saturating_mul(entry_size as u64);
    if entry_size < 128 || table_size > MAX_TABLE {
        return Ok(Copy::Damaged("the entries have an invalid size"));
    }
    let inside = table_lba.checked_mul(sector).filter(|o| o.saturating_add(table_size) <= window.length());
    let Some(table_offset) = inside else {
        return Ok(Copy::Damaged("the entries are beyond the end of the disk"));
    };
    let table = window.read_vec(table_offset, count * entry_size)?;
    if crc32(&table) != le32(&header, 88) {
        return Ok(Copy::Damaged("the checksum of the entries is wrong"));
    }
    let entries = table.chunks_exact(entry_size).zip(1..).take(MAX_PARTITIONS);
    Ok(Copy::Whole(entries.filter_map(|(entry, number)| partition(entry, number, sector)).collect()))
}

fn partition(entry: &[u8], number: u32, sector: u64) -> Option<Partition> {
    if entry.get(..16)?.iter().all(|byte| *byte == 0) {
        return None;
    }
    let (first, last) = (le64(entry, 32), le64(entry, 40));
    let sectors = last.checked_sub(first)?.checked_add(1)?;
    Some(Partition {
        number,
        start: first.checked_mul(sector)?,
        length: sectors.checked_mul(sector)?,
        scheme: Scheme::Gpt,
        gpt: Some(Gpt {
            kind: uuid::Uuid::from_slice_le(entry.get(..16)?).ok()?,
            id: uuid::Uuid::from_slice_le(entry.get(16..32)?).ok()?,
            attributes: le64(entry, 48),
            name: name(entry.get(56..128)?),
        }),
    })
}

/// A name in UTF-16, up to a zero.
fn name(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|unit| le16(unit, 0)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// CRC-32 as in zip and Ethernet; bit by bit, because tables are small.
pub(in crate::boot) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
