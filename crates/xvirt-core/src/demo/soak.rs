//! Verifies the disks of `Mode::Soak`, which `demo/soak.c` writes.

use std::io;

use crate::disk::BlockBackend;
use crate::memory::GuestSlice;

const BLOCK: usize = 4096;
/// The difference between two words of a block.
const STEP: u64 = 0xbf58_476d_1ce4_e5b9;

/// Reads the blocks that a guest with this seed wrote to its disk `number`, checks that each has the contents of one of
/// its writes, and returns a digest of which writes those are. It equals the `digest` in the guest's last line if no
/// write was lost.
///
/// # Errors
/// `InvalidData` if a block has contents that were never written to it; otherwise the error of reading the disk.
pub fn soak_digest(disk: &dyn BlockBackend, seed: u64, number: u32, blocks: u64) -> io::Result<u64> {
    let there = disk.capacity() / BLOCK as u64;
    let blocks = blocks.min(there);
    let key = mix(seed) ^ mix(u64::from(number) + 1);
    let mut data = vec![0; BLOCK];
    let mut digest = 0_u64;
    for block in 0..blocks {
        disk.read(&[GuestSlice::from(data.as_mut_slice())], block * (there / blocks) * BLOCK as u64)?;
        let mut words = data.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let generation = words.next().unwrap_or_default();
        let first =
            block.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(generation.wrapping_mul(0xd134_2543_de82_ef95));
        let mut expected = mix(key.wrapping_add(first));
        let written = words.all(|word| {
            expected = expected.wrapping_add(STEP);
            word == expected
        });
        let never = generation == 0 && data.iter().all(|byte| *byte == 0);
        if !written && !never {
            let what = format!("block {block} of disk {number} is not as its write {generation} left it");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        digest = digest.wrapping_add(mix(block << 32 | generation));
    }
    Ok(digest)
}

/// Spreads a number over all 64 bits (splitmix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
