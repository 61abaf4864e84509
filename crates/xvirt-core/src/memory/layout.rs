//! The layout of guest memory: below a hole that ends at 4 GiB, and above it.

/// The end of the lower part of guest memory. Devices are between it and 4 GiB.
pub(crate) const LOW_RAM_LIMIT: u64 = 0xC000_0000;

/// The start of the upper part of guest memory.
const HIGH_RAM_START: u64 = 1 << 32;

/// Splits `size` bytes of guest memory around the device hole: `(guest address, length)` of each part.
pub(crate) fn ram_ranges(size: u64) -> Vec<(u64, u64)> {
    let low = size.min(LOW_RAM_LIMIT);
    let mut ranges = vec![(0, low)];
    if size > low {
        ranges.push((HIGH_RAM_START, size - low));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_memory_is_one_range() {
        assert_eq!(ram_ranges(128 << 20), vec![(0, 128 << 20)]);
        assert_eq!(ram_ranges(LOW_RAM_LIMIT), vec![(0, LOW_RAM_LIMIT)]);
    }

    #[test]
    fn large_memory_continues_above_the_hole() {
        assert_eq!(ram_ranges(8 << 30), vec![(0, LOW_RAM_LIMIT), (1 << 32, (8 << 30) - LOW_RAM_LIMIT)]);
    }
}
