//! PCI bus 0 of a VM: slots, configuration space, base address registers and MSI-X.
//!
//! The machine creates one [`PciBus`], maps its [`ecam`](PciBus::ecam) and [`ports`](PciBus::ports), and inserts
//! functions. A function accesses the machine only through [`PciHost`], so it can be tested without KVM. There is no
//! firmware: the machine assigns all base addresses before the guest starts.

mod access;
mod bridge;
mod bus;
mod config;
mod host;
mod msix;
mod slots;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code))]
#[allow(clippy::unwrap_used, reason = "only tests and fuzzers use it")]
pub(crate) mod testing;

pub(crate) use bus::{PciBus, PciBusState};
pub(crate) use config::{ConfigSpace, ConfigState, Identity};
pub(crate) use host::PciHost;
pub(crate) use msix::{Msix, MsixState};
pub(crate) use slots::PciFunction;
