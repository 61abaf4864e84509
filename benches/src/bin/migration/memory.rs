//! Memory as guests have it.

use memmap2::{Advice, MmapMut};
use xvirt_benches::Result;
use xvirt_core::config::ByteSize;

pub(crate) const PAGE: usize = 4096;

/// Memory with the same huge pages as that of a guest.
pub(crate) fn map(bytes: usize) -> Result<MmapMut> {
    let memory = MmapMut::map_anon(bytes)?;
    memory.advise(Advice::HugePage)?;
    Ok(memory)
}

/// Writes to so much of the free memory. If this host is a VM itself, its hypervisor may have taken free memory back, and
/// needs many times longer than a migration to provide it again.
pub(crate) fn touch_free(size: ByteSize) -> Result<()> {
    map(size.bytes() as usize)?.chunks_mut(PAGE).for_each(|page| page[0] = 1);
    Ok(())
}
