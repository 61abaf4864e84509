//! Boots a VM from its own disk: reads partition tables, file systems and boot loader configurations, and finds the
//! kernel that the boot loader would have started, without running the boot loader.
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
//! All bytes read here are guest-controlled, so the memory and the work that one menu takes are bounded, and no reader
//! panics.
//!
//! Listing a menu changes nothing. When a VM starts an entry, what its boot loader would write is written to a disk that
//! can be written: GRUB's environment block, in its place, so that an entry for the next start has one turn.
//!
//! Supported are GPT, MBR and unpartitioned disks; ext2, ext3, ext4 (with replay of the journal and of fast commits),
//! XFS and FAT; GRUB 2 with Fedora's loader entries, systemd-boot entries and unified kernel images, extlinux and
//! syslinux, and GRUB 0.97. A `/boot` on LVM, RAID, LUKS, btrfs or another file system is not supported; the error names
//! what was found.

mod budget;
mod entry;
mod environment_block;
mod extlinux;
mod file;
mod filesystem;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod glob;
mod grub;
mod image;
mod kernel_files;
mod legacy;
mod loader_entries;
mod menu;
mod partition;
#[cfg(test)]
pub(crate) mod testing;
mod unified;
mod version;
mod volume;
mod window;
mod xen;

pub use entry::{BootEntry, BootFiles, BootSource, EntryChoice};
pub use image::Limits;
pub use menu::BootMenu;
pub use volume::DiskPath;
