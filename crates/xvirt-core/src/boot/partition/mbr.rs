//! The MBR partition table, with the chain of logical partitions in an extended one.

use std::io;

use super::{Partition, Scheme, has_boot_signature};
use crate::boot::window::{Window, le32};

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

/// Reads the table of a disk with sectors of `sector` bytes; the list is empty if there is none.
pub(super) fn read(window: &Window<'_>, sector: u64) -> io::Result<Vec<Partition>> {
    let Some(slots) = table(&window.read_vec(0, 512)?) else { return Ok(Vec::new()) };
    let mut disk = Table { window, sector, partitions: Vec::new(), next_logical: 5 };
    for (slot, number) in slots.iter().zip(1..) {
        if is_extended(slot.kind) {
            disk.read_logical(slot.first)?;
        } else if slot.kind != 0 && slot.kind != PROTECTIVE {
            disk.push(number, slot.first, slot.sectors);
        }
    }
    Ok(disk.partitions)
}

/// What was found so far.
struct Table<'w, 'd> {
    window: &'w Window<'d>,
    sector: u64,
    partitions: Vec<Partition>,
    next_logical: u32,
}

impl Table<'_, '_> {
    /// Follows the chain of tables in an extended partition: each contains one partition and the position of the next
    /// table.
    fn read_logical(&mut self, base: u64) -> io::Result<()> {
        let mut at = base;
        for _ in 0..MAX_LOGICAL {
            if at * self.sector + 512 > self.window.length() {
                break;
            }
            let sector = self.window.read_vec(at * self.sector, 512)?;
            if !has_boot_signature(&sector) {
                break;
            }
            let [logical, next, ..] = slots(&sector);
            if logical.kind != 0 && !is_extended(logical.kind) {
                self.push(self.next_logical, at + logical.first, logical.sectors);
                self.next_logical += 1;
            }
            if !is_extended(next.kind) || next.first == 0 {
                break;
            }
            at = base + next.first;
        }
        Ok(())
    }

    fn push(&mut self, number: u32, first: u64, sectors: u64) {
        let (start, length) = (first * self.sector, sectors * self.sector);
        self.partitions.push(Partition { number, start, length, scheme: Scheme::Mbr, gpt: None });
    }
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
