//! Fuzzes boot menus except GRUB's: loader entries, extlinux, GRUB 0.97, unified kernels, kernels by their names.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use xvirt_core::fuzzing::boot::menu;

fuzz_target!(|input: Vec<File>| {
    let files = input.into_iter().take(16).map(|file| (file.place.path().to_owned(), file.contents));
    drop(menu(vec![files.chain([("vmlinuz".to_owned(), b"kernel".to_vec())]).collect()]));
});

#[derive(Arbitrary, Debug)]
struct File {
    place: Place,
    contents: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum Place {
    Extlinux,
    Include,
    Syslinux,
    Legacy,
    LoaderConfig,
    FirstEntry,
    SecondEntry,
    Unified,
    GrubEnvironment,
    FileSystems,
    Kernel,
    Vendor,
}

impl Place {
    fn path(&self) -> &'static str {
        match self {
            Self::Extlinux => "boot/extlinux/extlinux.conf",
            Self::Include => "boot/extlinux/more.conf",
            Self::Syslinux => "syslinux.cfg",
            Self::Legacy => "boot/grub/menu.lst",
            Self::LoaderConfig => "loader/loader.conf",
            Self::FirstEntry => "loader/entries/a+3-1.conf",
            Self::SecondEntry => "loader/entries/b-6.1.conf",
            Self::Unified => "EFI/Linux/linux.efi",
            Self::GrubEnvironment => "boot/grub/grubenv",
            Self::FileSystems => "etc/fstab",
            Self::Kernel => "boot/vmlinuz-6.1",
            Self::Vendor => "EFI/debian/grub.cfg",
        }
    }
}
