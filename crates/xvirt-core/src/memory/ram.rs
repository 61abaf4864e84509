//! Allocates guest memory.

use std::fs::File;
use std::io;
use std::sync::Arc;

use vm_memory::bitmap::NewBitmap;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use crate::memory::MemoryBacking;
use crate::memory::file;
use crate::memory::huge_page::{self, Placeholder};
use crate::memory::local_hand_over::MemoryFile;
use crate::memory::process;
use crate::memory::ram_ranges;
use crate::memory::written::WrittenPages;
use crate::size::ByteSize;
use crate::{Error, ErrorKind, Result};

/// Guest memory with a dirty bitmap for writes by devices; clones share both.
pub(crate) type GuestRam = GuestMemoryMmap<WrittenPages>;

/// Maps guest memory of this size.
pub(crate) fn allocate(size: ByteSize, backing: &MemoryBacking) -> Result<GuestRam> {
    require_host_memory(size, backing)?;
    let given =
        backing.file.as_ref().map(|file| file::given(file, size, backing.huge_pages)).transpose()?.map(Arc::new);
    let (mut regions, mut offset) = (Vec::new(), 0);
    for (start, length) in ram_ranges(size.bytes()) {
        let source = match &given {
            Some(file) => Source::Shared(FileOffset::from_arc(Arc::clone(file), offset)),
            None if backing.needs_file() => {
                let made = file::make(length, backing.huge_pages);
                Source::Shared(FileOffset::new(made.map_err(|error| allocation_error(size, backing, error))?, 0))
            }
            None => Source::New,
        };
        offset += length;
        let length = usize::try_from(length).map_err(|_| too_large(size))?;
        regions.push(region(start, length, source, size, backing)?);
    }
    joined(regions)
}

/// Maps the memory that lies in `file` from `offset` on, one range (address and length) behind the other, privately: pages
/// are read when they are used, those that are not written stay shared with others that map the file, and the file never
/// changes. The file must be as long, and must not become shorter: an access behind its end would kill the process.
pub(crate) fn map_privately(
    ranges: &[(u64, u64)],
    file: &Arc<File>,
    mut offset: u64,
    backing: &MemoryBacking,
) -> Result<GuestRam> {
    let size = ByteSize::new(ranges.iter().fold(0, |sum: u64, (_, length)| sum.saturating_add(*length)));
    require_host_memory(size, backing)?;
    let mut regions = Vec::new();
    for (start, length) in ranges {
        let source = Source::Private(FileOffset::from_arc(Arc::clone(file), offset));
        offset += length;
        let length = usize::try_from(*length).map_err(|_| too_large(size))?;
        regions.push(region(*start, length, source, size, backing)?);
    }
    joined(regions)
}

/// Maps the memory of a local hand-over, which another process uses as well: each range (address and length) with its file.
///
/// # Errors
/// [`InvalidConfig`](ErrorKind::InvalidConfig): a file does not hold its range, could shrink, or does not have the page
/// size that the VM is configured with; or as [`allocate`].
pub(crate) fn take_over(ranges: &[(u64, u64)], files: &[MemoryFile], backing: &MemoryBacking) -> Result<GuestRam> {
    let size = ByteSize::new(ranges.iter().fold(0, |sum: u64, (_, length)| sum.saturating_add(*length)));
    require_host_memory(size, backing)?;
    if files.len() != ranges.len() {
        let what = format!("the memory that was passed has {} parts, and the VM's {}", files.len(), ranges.len());
        return Err(Error::new(ErrorKind::InvalidConfig, what));
    }
    let map = |(range, part): (&(u64, u64), &MemoryFile)| {
        let (start, length) = *range;
        let file = file::passed(&part.file, part.offset, length, backing.huge_pages)?;
        let length = usize::try_from(length).map_err(|_| too_large(size))?;
        region(start, length, Source::Shared(FileOffset::new(file, part.offset)), size, backing)
    };
    joined(ranges.iter().zip(files).map(map).collect::<Result<_>>()?)
}

fn joined(regions: Vec<GuestRegionMmap<WrittenPages>>) -> Result<GuestRam> {
    GuestMemoryMmap::from_regions(regions)
        .map_err(|e| Error::new(ErrorKind::InvalidConfig, "bad memory layout").because(e))
}

/// Fails if the host does not have `size` of memory. This also limits the dirty bitmap, which is allocated with it.
fn require_host_memory(size: ByteSize, backing: &MemoryBacking) -> Result<()> {
    let host = host_memory()?;
    if size <= host {
        return Ok(());
    }
    let cause = io::Error::other(format!("this host has {host}, swap included"));
    Err(allocation_error(size, backing, cause))
}

/// The host's total memory, including swap.
fn host_memory() -> Result<ByteSize> {
    // SAFETY: all zeroes is a valid sysinfo.
    let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
    // SAFETY: writes to a local struct.
    if unsafe { libc::sysinfo(&raw mut info) } != 0 {
        return Err(Error::io("cannot query the size of the host's memory", io::Error::last_os_error()));
    }
    let units = info.totalram.saturating_add(info.totalswap);
    Ok(ByteSize::new(units.saturating_mul(info.mem_unit.into())))
}

/// What the pages of a region of memory are.
enum Source {
    /// New pages of zeroes.
    New,
    /// Those of a file, which others may use as well.
    Shared(FileOffset),
    /// Those of a file until they are written.
    Private(FileOffset),
}

fn region(
    start: u64,
    length: usize,
    source: Source,
    size: ByteSize,
    backing: &MemoryBacking,
) -> Result<GuestRegionMmap<WrittenPages>> {
    let refused = |error: io::Error| allocation_error(size, backing, error);
    let mut flags = libc::MAP_NORESERVE;
    let mut builder = MmapRegionBuilder::new_with_bitmap(length, WrittenPages::with_len(length))
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE);
    match source {
        Source::New => flags |= libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        Source::Shared(file) => {
            flags |= libc::MAP_SHARED;
            builder = builder.with_file_offset(file).with_hugetlbfs(backing.huge_pages);
        }
        Source::Private(file) => {
            flags |= libc::MAP_PRIVATE;
            builder = builder.with_file_offset(file);
        }
    }
    if backing.huge_pages {
        // Reserved now, so that missing huge pages are this error instead of a SIGBUS later.
        flags &= !libc::MAP_NORESERVE;
    }
    let placeholder = Placeholder::aligning(length);
    let mapping = builder.with_mmap_flags(flags).build().map_err(|e| match e {
        vm_memory::mmap::MmapRegionError::Mmap(error) => refused(error),
        other => Error::new(ErrorKind::OutOfMemory, format!("cannot map {size} of guest memory")).because(other),
    })?;
    drop(placeholder);
    huge_page::advise(&mapping, start);
    process::keep_private(&mapping, backing.core_dumps).map_err(|e| {
        Error::new(ErrorKind::HostUnsupported, "cannot keep guest memory out of child processes and core dumps")
            .because(e)
    })?;
    GuestRegionMmap::new(mapping, GuestAddress(start)).ok_or_else(|| too_large(size))
}

fn too_large(size: ByteSize) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("{size} of guest memory do not fit into the address space"))
        .with_remedy("give the VM less memory")
}

fn allocation_error(size: ByteSize, backing: &MemoryBacking, error: io::Error) -> Error {
    let (what, remedy) = if backing.huge_pages {
        (
            format!("cannot allocate {size} of guest memory in huge pages"),
            format!(
                "reserve {} of them (sysctl vm.nr_hugepages) or turn huge pages off for this VM",
                size.bytes().div_ceil(2 << 20)
            ),
        )
    } else {
        (
            format!("cannot allocate {size} of guest memory"),
            "give the VM less memory, or raise the limits of this process (ulimit -v)".to_owned(),
        )
    };
    Error::new(ErrorKind::OutOfMemory, what).because(error).with_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Bytes, GuestMemoryBackend};

    #[test]
    fn memory_can_be_written_below_and_above_the_hole() {
        let ram = allocate(ByteSize::gib(5), &MemoryBacking::default()).unwrap();
        for address in [0x1000, (1 << 32) + 0x1000] {
            ram.write_obj(0x1234_5678_u32, GuestAddress(address)).unwrap();
            assert_eq!(ram.read_obj::<u32>(GuestAddress(address)).unwrap(), 0x1234_5678);
        }
        assert!(!ram.address_in_range(GuestAddress(0xE000_0000)));
    }

    #[test]
    fn shared_memory_has_a_descriptor() {
        let backing = MemoryBacking { shared: true, ..MemoryBacking::default() };
        let ram = allocate(ByteSize::mib(2), &backing).unwrap();
        assert!(ram.find_region(GuestAddress(0)).unwrap().file_offset().is_some());
    }

    #[test]
    fn absurd_memory_is_refused_with_a_remedy() {
        let error = allocate(ByteSize::gib(1 << 20), &MemoryBacking::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        assert!(error.to_string().starts_with("cannot allocate 1 PiB of guest memory: this host has "), "{error}");
        assert!(error.to_string().contains("give the VM less memory"), "{error}");
    }
}
