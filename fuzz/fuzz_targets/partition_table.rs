//! Fuzzes partition tables: MBR with logical partitions, and GPT, whose checksums are fixed first if the first byte
//! says so.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_core::disk::BlockBackend;
use xvirt_core::fuzzing::boot::{crc32, partitions};
use xvirt_fuzz::disk::SparseDisk;

/// Larger tables take long to checksum and test nothing new.
const MAX_TABLE: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let Some((control, data)) = data.split_first() else { return };
    let Some(mut disk) = SparseDisk::parse(data) else { return };
    if control & 1 != 0 {
        let sector = if control & 2 == 0 { 512 } else { 4096 };
        mend(&mut disk, sector, sector);
        let last = (disk.capacity() / sector).saturating_sub(1) * sector;
        mend(&mut disk, sector, last);
    }
    let Ok(found) = partitions(&disk) else { return };
    assert!(!found.is_empty());
    for (_, start, length) in found {
        assert!(length > 0 && start < disk.capacity());
    }
});

/// Writes the checksums of a GPT.
fn mend(disk: &mut SparseDisk, sector: u64, at: u64) {
    let mut header = [0; 512];
    disk.bytes(at, &mut header);
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| header[at + i]));
    let size = (word(80) as usize).saturating_mul(word(84) as usize);
    let table_at = (u64::from(word(72)) | u64::from(word(76)) << 32).checked_mul(sector);
    let Some(table_at) = table_at.filter(|_| size <= MAX_TABLE && header.starts_with(b"EFI PART")) else { return };
    let mut table = vec![0; size];
    disk.bytes(table_at % disk.capacity().max(1), &mut table);
    header[88..92].copy_from_slice(&crc32(&table).to_le_bytes());
    header[16..20].fill(0);
    let covered = usize::try_from(u32::from_le_bytes([header[12], header[13], header[14], header[15]]));
    let Some(covered) = covered.ok().and_then(|size| header.get(..size)) else { return };
    let sum = crc32(covered).to_le_bytes();
    header[16..20].copy_from_slice(&sum);
    disk.change(at, &header);
}
