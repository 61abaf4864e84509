use std::fmt;

/// A device that handles reads and writes at addresses.
///
/// `offset` is relative to the start of the device's range. Several vCPUs may call at once, so a device locks its
/// state. An access has 1, 2, 4 or 8 bytes. Accesses do not fail, as in hardware: reads of unused offsets return
/// zeroes, and writes to them are ignored.
pub(crate) trait BusDevice: Send + Sync + fmt::Debug {
    /// Reads `data` from `offset`.
    fn read(&self, offset: u64, data: &mut [u8]);

    /// Writes `data` to `offset`.
    fn write(&self, offset: u64, data: &[u8]);
}
