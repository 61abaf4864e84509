use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, PoisonError, RwLock};

use super::BusDevice;
use crate::{Error, ErrorKind, Result};

/// An address space (ports or memory-mapped I/O) and its devices.
///
/// The map is locked only during the lookup of an address, never during the access: a device may insert and remove
/// ranges in its handler.
#[derive(Debug)]
pub(crate) struct Bus {
    name: &'static str,
    ranges: RwLock<BTreeMap<u64, Range>>,
}

#[derive(Debug)]
struct Range {
    length: u64,
    device: Arc<dyn BusDevice>,
}

impl Bus {
    /// An empty address space; `name` is for error messages, such as "MMIO".
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, ranges: RwLock::default() }
    }

    /// Maps `device` at `[base, base + length)`.
    pub(crate) fn insert(&self, base: u64, length: u64, device: Arc<dyn BusDevice>) -> Result<()> {
        let Some(last) = length.checked_sub(1).and_then(|more| base.checked_add(more)) else {
            return Err(self.error(ErrorKind::InvalidConfig, "is empty or wraps around", base, length));
        };
        let mut ranges = self.ranges.write().unwrap_or_else(PoisonError::into_inner);
        // Only the nearest range that starts at or below our last address can overlap.
        if let Some((start, range)) = ranges.range(..=last).next_back()
            && start + (range.length - 1) >= base
        {
            return Err(self.error(ErrorKind::AlreadyExists, "overlaps that of another device", base, length));
        }
        ranges.insert(base, Range { length, device });
        Ok(())
    }

    /// Removes the range with exactly this `base` and `length`, and returns its device.
    pub(crate) fn remove(&self, base: u64, length: u64) -> Result<Arc<dyn BusDevice>> {
        let mut ranges = self.ranges.write().unwrap_or_else(PoisonError::into_inner);
        match ranges.entry(base) {
            Entry::Occupied(range) if range.get().length == length => Ok(range.remove().device),
            _ => Err(self.error(ErrorKind::NotFound, "is not in use", base, length)),
        }
    }

    /// Reads from `address`; without a device there, all bits are ones.
    pub(crate) fn read(&self, address: u64, data: &mut [u8]) {
        match self.find(address, data.len()) {
            Some((offset, device)) => device.read(offset, data),
            None => data.fill(0xff),
        }
    }

    /// Writes to `address`; without a device there, nothing happens.
    pub(crate) fn write(&self, address: u64, data: &[u8]) {
        if let Some((offset, device)) = self.find(address, data.len()) {
            device.write(offset, data);
        }
    }

    /// The device that covers the whole access, and the offset in it.
    fn find(&self, address: u64, size: usize) -> Option<(u64, Arc<dyn BusDevice>)> {
        let ranges = self.ranges.read().unwrap_or_else(PoisonError::into_inner);
        let (start, range) = ranges.range(..=address).next_back()?;
        let offset = address - start;
        let end = offset.checked_add(u64::try_from(size).ok()?)?;
        (end <= range.length).then(|| (offset, Arc::clone(&range.device)))
    }

    fn error(&self, kind: ErrorKind, what: &str, base: u64, length: u64) -> Error {
        Error::new(kind, format!("the {} range of {length:#x} bytes at {base:#x} {what}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Latch(Mutex<Vec<(u64, Vec<u8>)>>);

    impl BusDevice for Latch {
        fn read(&self, offset: u64, data: &mut [u8]) {
            data.fill(offset as u8);
        }

        fn write(&self, offset: u64, data: &[u8]) {
            self.0.lock().unwrap().push((offset, data.to_vec()));
        }
    }

    fn read(bus: &Bus, address: u64) -> u16 {
        let mut data = [0; 2];
        bus.read(address, &mut data);
        u16::from_le_bytes(data)
    }

    #[test]
    fn an_access_reaches_its_device_and_no_other() {
        let (bus, low, high) = (Bus::new("test"), Arc::new(Latch::default()), Arc::new(Latch::default()));
        bus.insert(0x1000, 0x10, low.clone()).unwrap();
        bus.insert(0x1010, 0x10, high.clone()).unwrap();
        assert_eq!((read(&bus, 0x100e), read(&bus, 0x1010)), (0x0e0e, 0));
        bus.write(0x1014, &[7]);
        assert!(low.0.lock().unwrap().is_empty());
        assert_eq!(*high.0.lock().unwrap(), [(4, vec![7])]);
    }

    #[test]
    fn unmapped_and_straddling_accesses_read_ones_and_drop_writes() {
        let (bus, device) = (Bus::new("test"), Arc::new(Latch::default()));
        bus.insert(0x1000, 0x10, device.clone()).unwrap();
        for address in [0, 0xfff, 0x100f, 0x1010, u64::MAX] {
            assert_eq!(read(&bus, address), 0xffff, "{address:#x}");
            bus.write(address, &[1, 2]);
        }
        assert!(device.0.lock().unwrap().is_empty());
    }

    #[test]
    fn overlaps_are_refused() {
        let (bus, device) = (Bus::new("test"), Arc::new(Latch::default()));
        bus.insert(0x1000, 0x100, device.clone()).unwrap();
        for (base, length) in [(0x1000, 0x100), (0x1010, 1), (0xfff, 2), (0x10ff, 0x100), (0, 0x10_0000)] {
            let error = bus.insert(base, length, device.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{base:#x}+{length:#x}");
        }
        for (base, length) in [(0, 0), (u64::MAX, 2)] {
            assert_eq!(bus.insert(base, length, device.clone()).unwrap_err().kind(), ErrorKind::InvalidConfig);
        }
        bus.insert(u64::MAX, 1, device.clone()).unwrap();
        bus.insert(0x1100, 1, device).unwrap();
    }

    #[test]
    fn a_removed_range_is_free_again() {
        let (bus, device) = (Bus::new("test"), Arc::new(Latch::default()));
        bus.insert(0x1000, 0x100, device.clone()).unwrap();
        assert_eq!(bus.remove(0x1000, 0x80).unwrap_err().kind(), ErrorKind::NotFound);
        bus.remove(0x1000, 0x100).unwrap();
        assert_eq!(Arc::strong_count(&device), 1);
        bus.insert(0x1080, 0x100, device).unwrap();
    }

    /// A device that moves itself, like a PCI function on a write to its configuration.
    #[derive(Debug)]
    struct Mover(Arc<Bus>);

    impl BusDevice for Mover {
        fn read(&self, _: u64, _: &mut [u8]) {}

        fn write(&self, _: u64, _: &[u8]) {
            let device = self.0.remove(0x1000, 0x100).unwrap();
            self.0.insert(0x2000, 0x100, device).unwrap();
        }
    }

    #[test]
    fn a_handler_may_change_the_map() {
        let bus = Arc::new(Bus::new("test"));
        bus.insert(0x1000, 0x100, Arc::new(Mover(bus.clone()))).unwrap();
        bus.write(0x1000, &[0]);
        assert_eq!((read(&bus, 0x1000), read(&bus, 0x2000)), (0xffff, 0));
    }
}
