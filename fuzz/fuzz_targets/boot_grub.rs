//! Fuzzes GRUB configurations, which are programs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_core::fuzzing::boot::menu;

fuzz_target!(|script: &[u8]| {
    let files = vec![
        ("boot/grub/grub.cfg".to_owned(), script.to_vec()),
        ("boot/vmlinuz-6.1".to_owned(), b"kernel".to_vec()),
        ("boot/initrd.img-6.1".to_owned(), b"initrd".to_vec()),
        ("boot/grub/grubenv".to_owned(), b"# GRUB Environment Block\nsaved_entry=1\nx=y\n####".to_vec()),
        ("boot/grub/other.cfg".to_owned(), b"set a=b; linux /boot/vmlinuz-6.1 $1 $x\n".to_vec()),
        ("loader/entries/a.conf".to_owned(), b"title A\nlinux /boot/vmlinuz-6.1\noptions $kernelopts\n".to_vec()),
    ];
    drop(menu(vec![files.clone(), files]));
});
