//! Guest memory: where it lies and what backs it.

mod slices;

pub(crate) use slices::{append_slices, mark_dirty};

pub(crate) type GuestRam = vm_memory::GuestMemoryMmap<vm_memory::bitmap::AtomicBitmap>;
