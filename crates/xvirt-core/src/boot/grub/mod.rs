//! GRUB 2: finds `grub.cfg` and runs it up to the boot menu.

mod commands;
mod device;
mod devices;
mod doubt;
mod environment;
mod expand;
mod files;
mod interpreter;
mod known;
mod lexer;
mod number;
mod options;
mod outcome;
mod parser;
mod regexp;
mod selection;
mod test_command;

use super::entry::Found;
use super::volume::{DiskPath, Volumes};
use interpreter::Interpreter;

/// The length limit of a `grub.cfg`.
const MAX_CONFIG: u64 = 1 << 20;

/// The paths of `grub.cfg` in its partition, which is a separate boot partition or the root; Flatcar's is last.
const PLACES: [&str; 5] =
    ["/grub2/grub.cfg", "/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/grub/grub.cfg", "/flatcar/grub/grub.cfg"];

/// Reads the menu of the first `grub.cfg` with a bootable entry, or the first of all if there is none.
pub(super) fn read(volumes: &Volumes<'_>) -> Option<Found> {
    let mut first = None;
    for config in candidates(volumes) {
        let found = Interpreter::new(volumes).boot_menu(&config);
        if found.is_bootable() {
            return Some(found);
        }
        first = first.or(Some(found).filter(|found| !found.entries.is_empty()));
    }
    first
}

/// All `grub.cfg` files of the disk. Those on the EFI system partition come first: firmware would read them first, and
/// they name the partition of the real one by UUID.
fn candidates(volumes: &Volumes<'_>) -> Vec<DiskPath> {
    let mut found = Vec::new();
    for (partition, _) in volumes.readable() {
        for vendor in volumes.list(&DiskPath::new(partition, "/EFI")) {
            found.push(DiskPath::new(partition, format!("/EFI/{vendor}/grub.cfg")));
        }
    }
    for place in PLACES {
        found.extend(volumes.readable().map(|(partition, _)| DiskPath::new(partition, place)));
    }
    found.retain(|config| volumes.file_length(config).is_some());
    volumes.without_links(found)
}

#[cfg(test)]
mod tests;
