//! Address decoding: which device answers an access to a port or to memory that is not RAM.

mod device;
mod map;
mod sync;

pub(crate) use device::BusDevice;
pub(crate) use map::Bus;
pub(crate) use sync::lock;
