//! Fuzzes file systems: ext2 to ext4, FAT and XFS.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_core::fuzzing::boot::Files;
use xvirt_fuzz::disk::SparseDisk;

/// The limits of directory entries and of bytes read per file.
const MAX_NAMES: usize = 64;
const MAX_BYTES: u64 = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let Some(disk) = SparseDisk::parse(data) else { return };
    let Some(files) = Files::open(&disk) else { return };
    files.names();
    let mut paths = vec![String::new(), "/link/../boot/link".into(), "boot/grub/grub.cfg".into()];
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned() {
        next += 1;
        if let Ok(Some(length)) = files.length(&path) {
            for offset in [0, length.saturating_sub(MAX_BYTES), length / 2] {
                let mut bytes = vec![0; length.saturating_sub(offset).min(MAX_BYTES) as usize];
                drop(files.read(&path, offset, &mut bytes));
            }
            // Reading beyond the end of a file is undefined, but must not crash.
            drop(files.read(&path, length, &mut [0; 16]));
        }
        let names = files.list(&path).unwrap_or_default();
        let room = MAX_NAMES.saturating_sub(paths.len());
        paths.extend(names.iter().take(room).map(|name| format!("{path}/{name}")));
    }
});
