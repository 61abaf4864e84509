use std::fmt;

/// Something that answers reads and writes at addresses.
///
/// `offset` counts from the start of the range the device was inserted at. Several vCPUs may call at once, so a device
/// locks what it changes. An access is 1, 2, 4 or 8 bytes; a device reads as zeroes and ignores writes where it has
/// nothing, and never fails: that is what hardware does.
pub(crate) trait BusDevice: Send + Sync + fmt::Debug {
    /// Fills `data` with what is at `offset`.
    fn read(&self, offset: u64, data: &mut [u8]);

    /// Writes `data` to `offset`.
    fn write(&self, offset: u64, data: &[u8]);
}
