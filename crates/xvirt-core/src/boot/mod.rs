//! Booting a VM from its own disk: the room where partition tables, file systems and boot loader configurations are
//! read, so that the kernel which the disk's owner would have booted can be loaded without running a boot loader.
//!
//! ```no_run
//! # fn example(disk: &dyn xvirt_core::disk::BlockBackend) -> xvirt_core::Result<()> {
//! use xvirt_core::boot::{BootMenu, EntryChoice};
//!
//! let menu = BootMenu::read(disk)?;
//! for entry in menu.entries() {
//!     println!("{}{}", if entry.default { "* " } else { "  " }, entry.title);
//! }
//! let files = menu.load(menu.entry(&EntryChoice::Default)?)?;
//! # Ok(())
//! # }
//! ```
//!
//! Every byte read here was written by the guest: all readers are bounded in time and memory, and none panics.
//!
//! Read are GPT and MBR tables and disks without one; ext2, ext3, ext4 (with a journal that was not replayed), XFS and
//! FAT; GRUB 2 with Fedora's loader entries, systemd-boot's entries and unified kernels, extlinux and syslinux, and
//! GRUB 0.97. A `/boot` inside LVM, RAID, LUKS, btrfs or another file system is named in the error, and not read.

mod entry;
mod extlinux;
mod file;
mod filesystem;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod grub;
mod image;
mod kernel_files;
mod legacy;
mod loader_entries;
mod menu;
mod partition;
#[cfg(test)]
pub(crate) mod test_support;
mod unified;
mod version;
mod volume;
mod window;

pub use entry::{BootEntry, BootFiles, BootSource, EntryChoice};
pub use image::Limits;
pub use menu::BootMenu;
pub use volume::DiskPath;
