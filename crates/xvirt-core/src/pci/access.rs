//! The two access methods for configuration space: memory-mapped (ECAM) and ports 0xcf8 to 0xcff.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::slots::Slots;
use crate::bus::BusDevice;

#[derive(Debug)]
pub(super) struct Ecam {
    slots: Arc<Slots>,
}

impl Ecam {
    pub(super) fn new(slots: Arc<Slots>) -> Self {
        Self { slots }
    }
}

/// Splits an ECAM offset into bus, device, function and register.
fn split(offset: u64) -> (u64, usize, usize, u16) {
    (offset >> 20, (offset >> 15 & 0x1f) as usize, (offset >> 12 & 7) as usize, (offset & 0xfff) as u16)
}

impl BusDevice for Ecam {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let (bus, device, function, register) = split(offset);
        match self.slots.get(device, function).filter(|_| bus == 0) {
            Some(function) => function.config_read(register, data),
            None => data.fill(0xff),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let (bus, device, function, register) = split(offset);
        if let Some(function) = self.slots.get(device, function).filter(|_| bus == 0) {
            function.config_write(register, data);
        }
    }
}

/// Offsets from port 0xcf8.
const ADDRESS_END: u64 = 4;
const DATA_END: u64 = 8;

#[derive(Debug)]
pub(super) struct ConfigPorts {
    slots: Arc<Slots>,
    address: AtomicU32,
}

impl ConfigPorts {
    pub(super) fn new(slots: Arc<Slots>, address: u32) -> Self {
        Self { slots, address: AtomicU32::new(address) }
    }

    pub(super) fn address(&self) -> u32 {
        self.address.load(Ordering::Relaxed)
    }

    pub(super) fn set_address(&self, address: u32) {
        self.address.store(address, Ordering::Relaxed);
    }

    /// The ECAM offset for a data port at `offset`, if configuration access is enabled.
    fn target(&self, offset: u64) -> Option<u64> {
        let address = self.address();
        let register = u64::from(address & 0xfc) + (offset - ADDRESS_END);
        (address >> 31 != 0).then(|| u64::from(address >> 8 & 0xffff) << 12 | register)
    }

    fn ecam(&self) -> Ecam {
        Ecam::new(self.slots.clone())
    }
}

impl BusDevice for ConfigPorts {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        if offset == 0 && data.len() == 4 {
            data.copy_from_slice(&self.address().to_le_bytes());
        } else if offset >= ADDRESS_END
            && offset + data.len() as u64 <= DATA_END
            && let Some(target) = self.target(offset)
        {
            self.ecam().read(target, data);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if offset == 0 {
            if let Ok(address) = data.try_into() {
                self.set_address(u32::from_le_bytes(address));
            }
        } else if offset >= ADDRESS_END
            && offset + data.len() as u64 <= DATA_END
            && let Some(target) = self.target(offset)
        {
            self.ecam().write(target, data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bus::PciBus;
    use super::super::testing::TestFunction;
    use super::*;
    use crate::device::Device;

    fn read(device: &dyn BusDevice, offset: u64) -> u32 {
        let mut data = [0; 4];
        device.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn both_ways_lead_to_the_same_registers() {
        let bus = PciBus::new(None).unwrap();
        bus.insert(3, Arc::new(TestFunction::new())).unwrap();
        let (ecam, ports) = (bus.ecam(), bus.ports());
        assert_eq!(read(&*ecam, 0), 0x0008_1b36);
        assert_eq!(read(&*ecam, 3 << 15), 0x1042_1af4);
        ports.write(0, &0x8000_1838_u32.to_le_bytes());
        ports.write(7, &[0]);
        ports.write(0, &0x8000_183c_u32.to_le_bytes());
        ports.write(4, &[11]);
        assert_eq!(read(&*ecam, 3 << 15 | 0x3c), 11);
        let mut byte = [0];
        ports.read(4, &mut byte);
        assert_eq!((byte, read(&*ports, 0)), ([11], 0x8000_183c));
        assert_eq!(bus.save().unwrap().config_address, 0x8000_183c);
    }

    #[test]
    fn absent_functions_read_as_ones() {
        let bus = PciBus::new(None).unwrap();
        let (ecam, ports) = (bus.ecam(), bus.ports());
        for offset in [1 << 15, 1 << 12, 1 << 20, 31 << 15 | 7 << 12 | 0xffc] {
            assert_eq!(read(&*ecam, offset), u32::MAX, "{offset:#x}");
            ecam.write(offset, &[0; 4]);
        }
        assert_eq!(read(&*ports, 4), u32::MAX, "configuration access is off");
        ports.write(0, &0x8001_0000_u32.to_le_bytes());
        assert_eq!(read(&*ports, 4), u32::MAX, "there is no bus 1");
        assert_eq!(read(&*ports, 6), u32::MAX, "beyond the data port");
    }

    #[test]
    fn slots_are_taken_and_freed() {
        let bus = PciBus::new(None).unwrap();
        assert!(bus.insert(0, Arc::new(TestFunction::new())).is_err());
        assert!(bus.insert(32, Arc::new(TestFunction::new())).is_err());
        bus.insert(31, Arc::new(TestFunction::new())).unwrap();
        bus.remove(31).unwrap();
        assert!(bus.remove(31).is_err());
        bus.insert(31, Arc::new(TestFunction::new())).unwrap();
    }

    #[test]
    fn the_bus_is_saved_with_its_bridge_and_reset_with_it() {
        let (old, at_power_on) = (PciBus::new(None).unwrap(), PciBus::new(None).unwrap().save().unwrap());
        old.ports().write(0, &0x8000_0004_u32.to_le_bytes());
        old.ecam().write(0x3c, &[5]);
        let state = old.save().unwrap();
        assert_ne!(state, at_power_on);
        let text = serde_json::to_string(&state).unwrap();
        let new = PciBus::new(Some(serde_json::from_str(&text).unwrap())).unwrap();
        assert_eq!(new.save().unwrap(), state);
        assert_eq!((read(&*new.ports(), 0), read(&*new.ecam(), 0x3c)), (0x8000_0004, 5));
        new.reset().unwrap();
        assert_eq!(new.save().unwrap(), at_power_on);
    }

    #[test]
    fn the_state_of_another_bridge_is_refused() {
        let mut state = PciBus::new(None).unwrap().save().unwrap();
        state.bridge.bytes[2] ^= 1;
        assert!(PciBus::new(Some(state)).is_err());
    }
}
