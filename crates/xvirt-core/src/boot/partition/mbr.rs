//! The MBR partition table, with the chain of logical partitions in an extended one.

use std::io;

use super::{Partition, Scheme, has_boot_signature};
use crate::boot::window::{Window, le32};

const SECTOR: u64 = 512;

/// The type of the protective entry of a GPT disk.
const PROTECTIVE: u8 = 0xee;

/// The length limit of a chain of logical partitions, which ends loops.
const MAX_LOGICAL: u32 = 128;

/// An entry of a table: partition type, first sector, number of sectors.
struct Slot {
    kind: u8,
    first: u64,
    sectors: u64,
}

/// Whether this table is in use, rather than protecting a GPT.
pub(super) fn is_real(window: &Window<'_>) -> io::Result<bool> {
    let slots = table(&window.read_vec(0, 512)?);
    Ok(slots.is_some_and(|slots| {
        slots.iter().any(|slot| slot.kind != 0) && slots.iter().all(|slot| slot.kind != PROTECTIVE)
    }))
}

/// Reads the table; the list is empty if there is none.
pub(super) fn read(window: &Window<'_>) -> io::Result<Vec<Partition>> {
    let sector = window.read_vec(0, 512)?;
    let Some(slots) = table(&sector) else { return Ok(Vec::new()) };
    let mut partitions = Vec::new();
    let mut next_logical = 5;
    for (slot, number) in slots.iter().zip(1..) {
        if is_extended(slot.kind) {
            read_logical(window, slot.first, &mut next_logical, &mut partitions)?;
        } else if slot.kind != 0 && slot.kind != PROTECTIVE {
            partitions.push(partition(number, slot.first, slot.sectors));
        }
    }
    Ok(partitions)
}

/// Follows the chain of tables in an extended partition: each contains one partition and the position of the next
/// table.
fn read_logical(window: &Window<'_>, base: u64, number: &mut u32, out: &mut Vec<Partition>) -> io::Result<()> {
    let mut at = base;
    for _ in 0..MAX_LOGICAL {
        if (at + 1) * SECTOR > window.length() {
            break;
        }
        let sector = window.read_vec(at * SECTOR, 512)?;
        if !has_boot_signature(&sector) {
            break;
        }
        let [logical, next, ..] = slots(&sector);
        if logical.kind != 0 && !is_extended(logical.kind) {
            out.push(partition(*number, at + logical.first, logical.sectors));
            *number += 1;
        }
        if !is_extended(next.kind) || next.first == 0 {
            break;
        }
        at = base + next.first;
    }
    Ok(())
}

fn partition(number: u32, first: u64, sectors: u64) -> Partition {
    Partition { number, start: first * SECTOR, length: sectors * SECTOR, scheme: Scheme::Mbr }
}

fn is_extended(kind: u8) -> bool {
    matches!(kind, 0x05 | 0x0f | 0x85)
}

/// The four entries, if the sector is a partition table rather than the boot sector of a file system.
fn table(sector: &[u8]) -> Option<[Slot; 4]> {
    let flags_plausible = (0..4).all(|slot| sector.get(446 + slot * 16).is_some_and(|flag| flag & 0x7f == 0));
    let is_fat = sector.get(54..57) == Some(b"FAT") || sector.get(82..85) == Some(b"FAT");
    (has_boot_signature(sector) && flags_plausible && !is_fat).then(|| slots(sector))
}

fn slots(sector: &[u8]) -> [Slot; 4] {
    std::array::from_fn(|slot| {
        let at = 446 + slot * 16;
        Slot {
            kind: sector.get(at + 4).copied().unwrap_or(0),
            first: le32(sector, at + 8).into(),
            sectors: le32(sector, at + 12).into(),
        }
    })
}
