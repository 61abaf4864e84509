//! Guest memory in files whose descriptors can be passed to another process, which then maps the same memory.

use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::{GuestRam, file};
use crate::descriptor::Descriptor;
use crate::{Error, ErrorKind, Result};

/// A file that holds one range of guest memory.
#[derive(Clone, Debug)]
pub(crate) struct MemoryFile {
    pub(crate) file: Descriptor,
    /// Where the range begins in the file.
    pub(crate) offset: u64,
}

/// The files of each range of guest memory, in their order.
///
/// # Errors
/// [`InvalidConfig`](ErrorKind::InvalidConfig) if the memory is private to this process, or a file could shrink.
pub(crate) fn files_of(memory: &GuestRam) -> Result<Vec<MemoryFile>> {
    memory
        .iter()
        .map(|region| {
            let shared = region.get_mmap().flags() & libc::MAP_SHARED != 0;
            let Some(place) = region.file_offset().filter(|_| shared) else {
                return Err(Error::new(ErrorKind::InvalidConfig, "the VM's memory is private to this process")
                    .with_remedy("build the VM with memory in a file: VmConfig::shared_memory"));
            };
            let duplicate = place.file().try_clone();
            let duplicate = duplicate.map_err(|e| Error::io("cannot duplicate the file of the VM's memory", e))?;
            let file = Descriptor::from(duplicate);
            file::require_no_shrinking(&file, place.file())?;
            Ok(MemoryFile { file, offset: place.start() })
        })
        .collect()
}
