//! Memory as guests have it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use memmap2::{Advice, MmapMut};
use xvirt_core::config::ByteSize;

use crate::Result;
use crate::guest::OWN;

/// The size of a page in bytes.
pub const PAGE: usize = 4096;
/// How much is filled at a time.
const PIECE: u64 = 1 << 20;
/// The memory of a guest below the addresses of its devices.
const BELOW_DEVICES: u64 = 3 << 30;
/// The lowest memory, which is a mapping of its own.
const LOW: u64 = 2 << 20;

/// Memory with the same huge pages as that of a guest.
///
/// # Errors
/// The memory cannot be mapped.
pub fn map(bytes: usize) -> Result<MmapMut> {
    let memory = MmapMut::map_anon(bytes)?;
    memory.advise(Advice::HugePage)?;
    Ok(memory)
}

/// Writes to so much of the free memory. If this host is a VM itself, its hypervisor may have taken free memory back, and
/// needs many times longer than a migration to provide it again.
///
/// # Errors
/// The memory cannot be mapped.
pub fn touch_free(size: ByteSize) -> Result<()> {
    map(size.bytes() as usize)?.chunks_mut(PAGE).for_each(|page| page[0] = 1);
    Ok(())
}

/// Fills the memory of the guest of this process, except what is the guest's own, all at its beginning. It is mapped in
/// parts of known sizes: the first 2 MiB, which are not in huge pages, the rest below the devices, and what is
/// above 4 GiB.
///
/// # Errors
/// The memory is not found.
pub fn fill(size: ByteSize) -> Result<()> {
    let below = size.bytes().min(BELOW_DEVICES);
    let (rest, above) = (below - LOW, size.bytes() - below);
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    let piece = vec![0x5a; PIECE as usize];
    let mut found = 0;
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).ok_or("no range")?;
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        let length = end - start;
        let own = match length {
            _ if length == rest => OWN - LOW,
            _ if length == above => 0,
            _ => continue,
        };
        for at in (start + own..end).step_by(PIECE as usize) {
            memory.write_all_at(&piece[..PIECE.min(end - at) as usize], at)?;
        }
        found += length;
    }
    if found == size.bytes() - LOW {
        Ok(())
    } else {
        Err(format!("{found} bytes of mappings look like the guest's memory").into())
    }
}
