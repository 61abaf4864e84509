//! Virtio devices (virtio 1.2) and their PCI transport.
//!
//! - [`VirtioDevice`]: a kind of device. Its guest-visible state is plain data (`state`); its constructor takes a trait
//!   object as host backend. Its [`Handler`] serves the queues.
//! - [`VirtioPci`]: a device in a PCI slot: negotiation, queues, interrupts, and the worker thread, which exists from
//!   `DRIVER_OK` to reset.
//! - `blk`, `net`, `console`, `rng`, `balloon`, `vsock`: the devices.
//!
//! The life of a device, as the machine sees it; [`Device`](crate::device::Device) documents each step:
//!
//! ```text
//! let blk = Arc::new(Block::new(backend, engine, sink, BlockState::new(..))?);  // or with the saved state
//! let pci = VirtioPci::new(blk.clone(), memory, host, bar, None)?;      // bar: BAR_SIZE bytes, aligned to it
//! bus.insert(slot, pci.clone())?;
//! pci.pause();                         // no request is in flight now, and none will be until resume()
//! let state = pci.save()?;             // only while paused
//! pci.resume();
//! blk.refresh_capacity(); pci.config_changed();
//! pci.reset()?;                        // machine reboot: back to power-on, base address included
//! pci.stop();                          // or drop it: joins the worker, releases addresses
//! ```
//!
//! A device built from a saved state is paused until `resume()`.
//!
//! A driver that violates the protocol gets `DEVICE_NEEDS_RESET` (section 2.1.1), and its queues are not served until
//! it resets the device. The same happens if the host cannot serve the device, which is also reported to the owner. The
//! work for one descriptor chain is bounded, and memory use does not depend on the driver.

mod balloon;
mod blk;
mod chain;
mod console;
mod device;
mod failure;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod interrupt;
mod net;
mod pause;
mod queue;
mod rng;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transport;
mod vsock;
mod worker;

pub(crate) use balloon::{Balloon, GuestReport};
pub(crate) use blk::{Block, BlockCounters, IoError, IoErrorSink, OperationCounts};
pub(crate) use chain::ServeError::{self, Malformed};
pub(crate) use chain::{Chain, Served};
pub(crate) use console::Console;
pub(crate) use device::{DeviceKind, Handler, VirtioDevice};
pub(crate) use net::{FrameCounters, Net, NetBackend};
pub(crate) use queue::{Queues, VirtQueue};
pub(crate) use rng::Rng;
pub(crate) use state::{BalloonState, BlockState, ConsoleState, DeviceState, NetState, VsockState};
pub(crate) use transport::{BAR_SIZE, VirtioPci, VirtioPciState};
pub(crate) use vsock::{Vsock, port_path};
