//! Recognizes unsupported partition contents, so that errors can name them.

use std::io;

use crate::boot::window::{Window, be64, le64};

/// A name, the offset of its signature, and the signature.
type Signature = (&'static str, u64, &'static [u8]);

/// Containers. Signatures of an earlier file system may remain beside these.
const CONTAINERS: [Signature; 8] = [
    ("LUKS encryption", 0, b"LUKS\xba\xbe"),
    ("LVM", 24, b"LVM2 001"),
    ("LVM", 512 + 24, b"LVM2 001"),
    ("LVM", 1024 + 24, b"LVM2 001"),
    ("LVM", 1536 + 24, b"LVM2 001"),
    ("Linux software RAID", 0, b"\xfc\x4e\x2b\xa9"),
    ("Linux software RAID", 4096, b"\xfc\x4e\x2b\xa9"),
    ("swap space", 4086, b"SWAPSPACE2"),
];

/// Other file systems. Their signatures may remain inside a supported file system.
const FILE_SYSTEMS: [Signature; 16] = [
    ("btrfs", 0x1_0040, b"_BHRfS_M"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("JFS", 0x8000, b"JFS1"),
    ("reiserfs", 0x1_0034, b"ReIsErFs"),
    ("reiserfs", 0x1_0034, b"ReIsEr2Fs"),
    ("reiserfs", 0x1_0034, b"ReIsEr3Fs"),
    ("reiserfs", 0x2034, b"ReIsErFs"),
    ("reiser4", 0x1_0000, b"ReIsEr4"),
    ("nilfs2", 1024, b"\x02\0\0\0\0\0\x34\x34"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("bcachefs", 4096 + 24, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9"),
    ("bcache or bcachefs", 4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
    ("squashfs", 0, b"hsqs"),
    ("an ISO 9660 image", 0x8001, b"CD001"),
    ("NTFS", 3, b"NTFS    "),
    ("exFAT", 3, b"EXFAT   "),
];

/// The name of an unsupported container.
pub(super) fn container(window: &Window<'_>) -> io::Result<Option<&'static str>> {
    recognize(window, &CONTAINERS)
}

/// The name of an unsupported file system.
pub(super) fn file_system(window: &Window<'_>) -> io::Result<Option<&'static str>> {
    match recognize(window, &FILE_SYSTEMS)? {
        Some(name) => Ok(Some(name)),
        None => is_zfs(window).map(|is_zfs| is_zfs.then_some("ZFS")),
    }
}

/// Whether this is part of a pool of ZFS: one of its roots, in the first of its labels.
fn is_zfs(window: &Window<'_>) -> io::Result<bool> {
    const ROOTS: std::ops::Range<u64> = 128 << 10..256 << 10;
    const MAGIC: u64 = 0x00ba_b10c;
    if window.length() < ROOTS.end {
        return Ok(false);
    }
    let roots = window.read_vec(ROOTS.start, (ROOTS.end - ROOTS.start) as usize)?;
    Ok(roots.chunks_exact(1024).any(|root| [le64(root, 0), be64(root, 0)].contains(&MAGIC)))
}

fn recognize(window: &Window<'_>, signatures: &[Signature]) -> io::Result<Option<&'static str>> {
    for (name, offset, signature) in signatures {
        let is_inside = offset + signature.len() as u64 <= window.length();
        if is_inside && window.read_vec(*offset, signature.len())? == *signature {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
