//! Address decoding: which device answers an access to a port or to memory that is not RAM.

mod device;
mod map;

pub(crate) use device::BusDevice;
pub(crate) use map::Bus;
