//! Guest memory: its layout in the guest's address space, and the host memory that backs it.

mod backing;
mod buffers;
mod file;
mod give_back;
mod host_ranges;
mod huge_page;
mod layout;
mod local_hand_over;
mod missing;
mod prefault;
mod process;
mod ram;
mod replace;
mod slice;
mod slices;
mod socket;
#[cfg(test)]
#[cfg(feature = "demo")]
pub(crate) mod testing;
mod userfault;
mod write_protect;
mod written;

pub use backing::MemoryBacking;
pub(crate) use buffers::GuestBuffers;
pub(crate) use file::is_local;
#[cfg(test)]
pub(crate) use give_back::tests::resident;
pub(crate) use give_back::{Contents, clear_files, give_back};
pub(crate) use layout::{LOW_RAM_LIMIT, ram_ranges};
pub(crate) use local_hand_over::{MemoryFile, files_of};
pub(crate) use missing::MissingPages;
pub(crate) use prefault::Prefault;
pub(crate) use ram::{GuestRam, allocate, map_privately, take_over};
pub(crate) use replace::with_zeroes;
pub use slice::GuestSlice;
pub(crate) use slices::{append_slices, mark_dirty, require_loaded, require_was_loaded};
pub(crate) use socket::{receive_memory, send_memory};
pub(crate) use write_protect::{Stalls, WriteProtection};
pub(crate) use written::Keeper;
