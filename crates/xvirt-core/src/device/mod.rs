//! The few devices of a PC that are not PCI: serial port, real-time clock, power management, hot plug, watchdog, panic
//! port. And what every device of a machine has in common, PCI functions too: [`Device`].
//!
//! Each is guest-visible state (plain serde data) behind a lock, and a host side given to its constructor.

pub(crate) mod hotplug;
mod lifecycle;
pub(crate) mod panic;
pub(crate) mod power;
pub(crate) mod rtc;
pub(crate) mod serial;
#[cfg(test)]
mod testing;
pub(crate) mod watchdog;

pub(crate) use lifecycle::{Device, not_paused, reset_all};
