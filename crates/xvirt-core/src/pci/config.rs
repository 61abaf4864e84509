//! Type 0 configuration space (PCI 3.0, section 6.1): registers, write masks, capabilities, BARs.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// Size of configuration space in bytes; ECAM registers above it read as ones.
const SIZE: usize = 256;

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const BARS: usize = 0x10;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const FIRST_CAPABILITY: usize = 0x40;

/// Command register: memory decoding is enabled.
const MEMORY_ENABLE: u16 = 1 << 1;
/// The writable bits of the command register: memory, bus master, parity, SERR, interrupt disable.
const COMMAND_MASK: u16 = MEMORY_ENABLE | 1 << 2 | 1 << 6 | 1 << 8 | 1 << 10;
const STATUS_CAPABILITIES: u16 = 1 << 4;
const BAR_MEMORY_64: u64 = 0b100;

/// The identification registers of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// Vendor.
    pub(crate) vendor: u16,
    /// Device.
    pub(crate) device: u16,
    /// Revision.
    pub(crate) revision: u8,
    /// Base class, subclass and programming interface, as in 0x02_00_00.
    pub(crate) class: u32,
    /// Subsystem vendor.
    pub(crate) subsystem_vendor: u16,
    /// Subsystem.
    pub(crate) subsystem: u16,
}

/// The configuration registers of one function.
#[derive(Debug)]
pub(crate) struct ConfigSpace {
    bytes: [u8; SIZE],
    /// The bits that the guest may write.
    writable: [u8; SIZE],
    next_capability: usize,
    /// The offset of the last capability's `next` field.
    link: usize,
}

/// The saved registers of a configuration space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigState {
    /// All registers.
    pub(crate) bytes: Vec<u8>,
}

impl ConfigSpace {
    /// A function without BARs and capabilities.
    pub(crate) fn new(identity: Identity) -> Self {
        let mut config =
            Self { bytes: [0; SIZE], writable: [0; SIZE], next_capability: FIRST_CAPABILITY, link: CAPABILITIES };
        config.set(0x00, &identity.vendor.to_le_bytes());
        config.set(0x02, &identity.device.to_le_bytes());
        config.set(0x08, &(identity.class << 8 | u32::from(identity.revision)).to_le_bytes());
        config.set(0x2c, &identity.subsystem_vendor.to_le_bytes());
        config.set(0x2e, &identity.subsystem.to_le_bytes());
        config.allow(COMMAND, &COMMAND_MASK.to_le_bytes());
        config.allow(INTERRUPT_LINE, &[0xff]);
        config
    }

    /// Makes BAR `index` and the next one a 64-bit memory BAR of `size` bytes (a power of two) at `address`, and
    /// enables memory decoding, as firmware would.
    pub(crate) fn add_memory_bar(&mut self, index: usize, address: u64, size: u64) -> Result<()> {
        if !size.is_power_of_two() || size < 16 || index > 4 || !address.is_multiple_of(size) {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                format!("a PCI memory BAR of {size:#x} bytes cannot be at {address:#x}"),
            ));
        }
        let register = BARS + 4 * index;
        self.set(register, &(address | BAR_MEMORY_64).to_le_bytes());
        self.allow(register, &(!(size - 1)).to_le_bytes());
        self.set(COMMAND, &MEMORY_ENABLE.to_le_bytes());
        Ok(())
    }

    /// Disables memory decoding until the guest enables it.
    pub(crate) fn disable_memory(&mut self) {
        self.set(COMMAND, &[0, 0]);
    }

    /// The guest's address for the memory BAR at `index`.
    pub(crate) fn memory_bar(&self, index: usize) -> u64 {
        let mut register = [0; 8];
        self.read(BARS + 4 * index, &mut register);
        u64::from_le_bytes(register) & !0xf
    }

    /// Whether memory decoding is enabled.
    pub(crate) fn memory_enabled(&self) -> bool {
        u16::from_le_bytes([self.bytes[COMMAND], self.bytes[COMMAND + 1]]) & MEMORY_ENABLE != 0
    }

    /// Appends a capability: its id, `body` (without id and next pointer), and the writable bits of `body`. Returns its
    /// offset.
    pub(crate) fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> Result<usize> {
        let at = self.next_capability;
        let end = at + 2 + body.len();
        if end > SIZE {
            return Err(Error::new(ErrorKind::InvalidConfig, "a PCI function has too many capabilities"));
        }
        self.set(self.link, &[at as u8]);
        self.set(at, &[id, 0]);
        self.set(at + 2, body);
        self.allow(at + 2, writable);
        self.set(STATUS, &STATUS_CAPABILITIES.to_le_bytes());
        self.link = at + 1;
        self.next_capability = end.next_multiple_of(4);
        Ok(at)
    }

    /// Reads registers; beyond the end all bits are ones.
    pub(crate) fn read(&self, offset: usize, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = self.bytes.get(offset + i).copied().unwrap_or(0xff);
        }
    }

    /// Handles a guest write to the writable bits.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        for ((byte, mask), new) in self.bytes.iter_mut().zip(&self.writable).skip(offset).zip(data) {
            *byte = *byte & !mask | new & mask;
        }
    }

    /// The registers for a saved state.
    pub(crate) fn save(&self) -> ConfigState {
        ConfigState { bytes: self.bytes.to_vec() }
    }

    /// Restores saved registers. The identification registers must match.
    pub(crate) fn restore(&mut self, state: &ConfigState) -> Result<()> {
        let fixed = |bytes: &[u8]| -> Vec<u8> { bytes.iter().zip(&self.writable).map(|(b, w)| b & !w).collect() };
        if state.bytes.len() != SIZE || fixed(&state.bytes) != fixed(&self.bytes) {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                "the saved PCI function is not the one it is restored to",
            )
            .with_remedy("restore with the devices that the VM was saved with"));
        }
        self.bytes.copy_from_slice(&state.bytes);
        Ok(())
    }

    fn set(&mut self, offset: usize, data: &[u8]) {
        for (byte, new) in self.bytes.iter_mut().skip(offset).zip(data) {
            *byte = *new;
        }
    }

    fn allow(&mut self, offset: usize, mask: &[u8]) {
        for (byte, new) in self.writable.iter_mut().skip(offset).zip(mask) {
            *byte = *new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ConfigSpace {
        let mut config = ConfigSpace::new(Identity {
            vendor: 0x1af4,
            device: 0x1042,
            revision: 1,
            class: 0x01_80_00,
            subsystem_vendor: 0x1af4,
            subsystem: 0x42,
        });
        config.add_memory_bar(0, 0xc000_8000, 0x8000).unwrap();
        config
    }

    fn word(config: &ConfigSpace, offset: usize) -> u32 {
        let mut data = [0; 4];
        config.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn identity_is_read_only() {
        let mut config = config();
        for offset in [0, 8, 0x2c, 0x3d] {
            config.write(offset, &[0xff; 4]);
        }
        assert_eq!((word(&config, 0), word(&config, 8), word(&config, 0x2c)), (0x1042_1af4, 0x0180_0001, 0x0042_1af4));
        assert_eq!(word(&config, 0x3c), 0, "no interrupt pin");
        assert_eq!(word(&config, 0x100), u32::MAX);
        config.write(0xfe, &[1, 2, 3, 4]);
        config.write(0x1000, &[1]);
    }

    #[test]
    fn a_bar_is_sized_and_moved() {
        let mut config = config();
        assert_eq!((config.memory_bar(0), word(&config, 0x10) & 0xf), (0xc000_8000, 4));
        config.write(0x10, &[0xff; 4]);
        config.write(0x14, &[0xff; 4]);
        assert_eq!((word(&config, 0x10), word(&config, 0x14)), (0xffff_8004, u32::MAX));
        config.write(0x10, &0xd001_0000_u32.to_le_bytes());
        config.write(0x14, &1_u32.to_le_bytes());
        assert_eq!(config.memory_bar(0), 0x1_d001_0000);
    }

    #[test]
    fn capabilities_are_a_list() {
        let mut config = config();
        let first = config.add_capability(9, &[4, 0, 0xaa], &[0, 0, 0x0f]).unwrap();
        let second = config.add_capability(0x11, &[0; 10], &[]).unwrap();
        assert_eq!(word(&config, 0x34) & 0xff, first as u32);
        assert_eq!(word(&config, first) & 0xffff, (second as u32) << 8 | 9);
        assert_eq!(word(&config, second) & 0xffff, 0x11);
        config.write(first, &[0xff; 5]);
        assert_eq!(word(&config, first + 4) & 0xff, 0xaf);
        assert!(config.add_capability(9, &[0; 200], &[]).is_err());
    }

    #[test]
    fn state_goes_round_and_a_foreign_one_is_refused() {
        let mut old = config();
        old.write(0x10, &0xd000_0000_u32.to_le_bytes());
        let mut new = config();
        new.restore(&old.save()).unwrap();
        assert_eq!((new.memory_bar(0), new.save()), (0xd000_0000, old.save()));
        let mut state = old.save();
        state.bytes[2] ^= 1;
        assert_eq!(new.restore(&state).unwrap_err().kind(), ErrorKind::InvalidConfig);
        state.bytes.clear();
        assert!(new.restore(&state).is_err());
    }
}
