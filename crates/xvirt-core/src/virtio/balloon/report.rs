//! The guest's memory statistics (virtio 1.2, section 5.5.6.3).

use std::time::SystemTime;

/// Size of a statistic: a tag of two bytes and a value of eight.
pub(super) const ENTRY: usize = 10;
/// A limit above the number of statistics that any driver sends.
pub(super) const MAX_ENTRIES: usize = 64;

/// The guest's statistics and the time of their arrival. Statistics that it did not send are `None`; sizes are in
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuestReport {
    pub(crate) taken: SystemTime,
    pub(crate) swapped_in: Option<u64>,
    pub(crate) swapped_out: Option<u64>,
    pub(crate) major_faults: Option<u64>,
    pub(crate) minor_faults: Option<u64>,
    pub(crate) free: Option<u64>,
    pub(crate) total: Option<u64>,
    pub(crate) available: Option<u64>,
    pub(crate) disk_caches: Option<u64>,
}

impl GuestReport {
    /// Parses the driver's buffer. Unknown statistics are skipped.
    pub(super) fn parse(bytes: &[u8], taken: SystemTime) -> Self {
        let mut values = [None; 8];
        for entry in bytes.chunks_exact(ENTRY) {
            let (tag, value) = entry.split_at(2);
            let tag = tag.iter().rev().fold(0, |tag, byte| tag << 8 | usize::from(*byte));
            if let Some(known) = values.get_mut(tag) {
                *known = Some(value.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)));
            }
        }
        let [swapped_in, swapped_out, major_faults, minor_faults, free, total, available, disk_caches] = values;
        Self { taken, swapped_in, swapped_out, major_faults, minor_faults, free, total, available, disk_caches }
    }
}
