//! The non-PCI devices of the PC: serial port, real-time clock, power management, hot plug controller, watchdog and
//! panic port. Also [`Device`], the trait of all devices, PCI functions included.
//!
//! Each device is guest-visible state (plain serde data) behind a lock, plus a host side that its constructor takes.

pub(crate) mod hotplug;
mod lifecycle;
pub(crate) mod panic;
pub(crate) mod power;
pub(crate) mod rtc;
pub(crate) mod serial;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod watchdog;

pub(crate) use lifecycle::{Device, not_paused, reset_all};
