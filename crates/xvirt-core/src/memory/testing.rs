//! What tests of several folders do with guest memory.

use vm_memory::{Address, Bytes, GuestMemoryBackend, GuestMemoryRegion};

use super::GuestRam;

/// Copies the pages whose bits are set, 64 in each word, in the bitmap of each region, and returns how many.
pub(crate) fn copy_pages(from: &GuestRam, to: &GuestRam, bitmaps: &[Vec<u64>]) -> usize {
    let mut copied = 0;
    for (region, words) in from.iter().zip(bitmaps) {
        for (at, word) in words.iter().enumerate() {
            for bit in (0..64).filter(|bit| word >> bit & 1 == 1) {
                let (mut page, place) = ([0; 4096], region.start_addr().unchecked_add((at as u64 * 64 + bit) * 4096));
                from.read_slice(&mut page, place).unwrap();
                to.write_slice(&page, place).unwrap();
                copied += 1;
            }
        }
    }
    copied
}
