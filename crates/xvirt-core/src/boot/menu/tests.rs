//! Whole disks as installed by distributions, from the partition table to the bytes of the kernel.

mod causes;
mod grub;
mod other_loaders;
mod real_grub;
mod refusals;
mod writing;

use super::super::testing::*;
use super::*;

const ROOT: &str = "3f5ad593-4546-4a94-a374-bcfb68aa11f7";
const BOOT: &str = "1b2c3d4e-5555-4666-8777-888899990000";

/// Files in the format of these systems' grub-mkconfig.
const DEBIAN: &str = include_str!("../samples/debian-12.cfg");
const UBUNTU: &str = include_str!("../samples/ubuntu-24.04.cfg");
const FEDORA: &str = include_str!("../samples/fedora.cfg");
const XEN: &str = include_str!("../samples/xen-dom0.cfg");

/// The titles with their submenu depths.
fn titles<'m>(menu: &'m BootMenu<'_>) -> Vec<(usize, &'m str)> {
    menu.entries().iter().map(|entry| (entry.submenu.len(), entry.title.as_str())).collect()
}

/// What the default entry loads: title, kernel, initrd, command line.
fn boot(disk: &MemoryDisk) -> (String, Vec<u8>, Option<Vec<u8>>, String) {
    let menu = BootMenu::read(disk).unwrap();
    let entry = menu.entry(&EntryChoice::Default).unwrap();
    let files = menu.load(entry).unwrap();
    (entry.title.clone(), files.kernel, files.initrd, files.command_line)
}

fn booted(title: &str, kernel: &[u8], initrd: Option<&[u8]>, line: &str) -> (String, Vec<u8>, Option<Vec<u8>>, String) {
    (title.to_owned(), kernel.to_vec(), initrd.map(<[u8]>::to_vec), line.to_owned())
}

const FEDORA_ENTRY: &str = "title Fedora Linux (6.5.6-300.fc39.x86_64) 39 (Cloud Edition)
version 6.5.6-300.fc39.x86_64
linux /vmlinuz-6.5.6-300.fc39.x86_64
initrd /initramfs-6.5.6-300.fc39.x86_64.img $tuned_initrd
options $kernelopts console=ttyS0 $tuned_params
grub_users $grub_users
grub_arg --unrestricted
grub_class fedora
";

/// A menu may be sent to another thread.
#[test]
fn a_menu_can_be_sent_and_shared() {
    fn check<T: Send + Sync>() {}
    check::<BootMenu<'_>>();
}
