//! Address decoding: maps port and memory-mapped I/O accesses to devices.

mod device;
mod map;

pub(crate) use device::BusDevice;
pub(crate) use map::Bus;
