//! Hashes of the contents of disks and templates.
//!
//! [`Template::hash`](super::Template::hash) defines both.

use sha2::{Digest, Sha256};

use crate::Result;
use crate::disk::{BLOCK, BlockBackend, is_zero, scan};
use crate::progress::Progress;

const DISK: &[u8; 16] = b"xvirt disk\0\0\0\0\0\x01";
const TEMPLATE: &[u8; 16] = b"xvirt template\0\x01";

/// The hash of a disk's contents.
pub(crate) fn hash_disk(disk: &dyn BlockBackend, progress: &dyn Progress) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(DISK);
    hash.update(disk.capacity().to_le_bytes());
    scan(disk, "the hashing", progress, |offset, bytes| {
        for (at, block) in (offset..).step_by(BLOCK as usize).zip(bytes.chunks(BLOCK as usize)) {
            if !is_zero(block) {
                hash.update(at.to_le_bytes());
                hash.update(block);
            }
        }
        Ok(())
    })?;
    Ok(text(hash))
}

/// The hash of a template, from the hashes of its disks.
pub(super) fn hash_template<'a>(disks: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    hash.update(TEMPLATE);
    disks.for_each(|disk| hash.update(disk));
    text(hash)
}

fn text(hash: Sha256) -> String {
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}
