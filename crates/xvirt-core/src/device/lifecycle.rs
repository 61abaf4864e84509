//! What a machine does to each of its devices: pause, resume, reset, save.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind, Result};

/// A device of a machine.
///
/// A machine keeps its devices in one order, and does everything to them in that order, but for pausing, which goes
/// backwards. It calls one method of one device at a time. vCPU threads access a device only while it runs:
///
/// ```text
/// new ── resume ──► running ── (vCPUs park) ── pause ──► paused ── resume ──► running (and vCPUs run)
///                                                        │    ▲
///                                                        └────┘ reset, save
/// ```
///
/// A device is constructed from its backend and an `Option` of its [`State`](Self::State): restoring is the constructor,
/// and there is no method for it. It is paused when it is made; only a new PCI function is not, which may be plugged into a
/// machine that runs. A machine that is parked pauses it.
///
/// No method has a body here: what a device does not need, it has to say.
pub(crate) trait Device: Send + Sync + fmt::Debug {
    /// All that the guest can tell from a new device, as plain data: no path and no descriptor of the host, no limit that
    /// the host has set, no moment of the host's clock.
    type State: Serialize + DeserializeOwned
    where
        Self: Sized;

    /// What it is, for messages: "serial port".
    fn name(&self) -> &'static str;

    /// Lets the device do nothing any more.
    ///
    /// All vCPUs are parked, and the devices that come later in the order are paused. It may wait until requests that
    /// are in flight have ended, and for nothing that the guest or an owner has to do. Afterwards the device touches no
    /// guest memory and no backend, takes no input, raises no interrupt by itself, and its clock shows the same until it is resumed.
    /// What its owner asks of it (to press a button, to plug something in) still changes its state. To pause a paused
    /// device changes nothing.
    fn pause(&self);

    /// Lets the device work again, or for the first time.
    ///
    /// All vCPUs are parked, and the devices that come earlier in the order run. It must not wait. Afterwards the device
    /// looks by itself for what came while it was paused: a notification or an event may have been lost. To resume a
    /// device that runs changes nothing.
    fn resume(&self);

    /// Takes the device back to power-on: to the guest it is a new one, but for what outlives a reset in a PC, of which
    /// the implementation tells. What its owner has set stays, such as the size of a disk, and so do limits.
    ///
    /// All vCPUs are parked, and all devices are paused; it is paused afterwards, too. It may wait for a thread of its
    /// own to end.
    ///
    /// # Errors
    /// Something of the host is wanting, or the device's place is still taken by one that is reset later: it is called
    /// once more when all others are reset.
    fn reset(&self) -> Result<()>;

    /// What its constructor needs to go on elsewhere with what the guest knows.
    ///
    /// All vCPUs are parked, and all devices are paused. It waits for nothing and changes nothing: to save twice gives the
    /// same state.
    ///
    /// # Errors
    /// The device cannot be saved; the error says why, and the caller which device it is.
    fn save(&self) -> Result<Self::State>
    where
        Self: Sized;
}

/// Resets devices in their order, all of them whatever fails. The first failure is returned.
pub(crate) fn reset_all<'a>(devices: impl IntoIterator<Item = &'a dyn Device>) -> Result<()> {
    let mut devices: Vec<_> = devices.into_iter().collect();
    // A guest may have put one PCI function where another was, which finds its place free once all others are back.
    devices.retain(|device| device.reset().is_err());
    devices.iter().map(|device| device.reset()).fold(Ok(()), Result::and)
}

/// That a device is not paused, which has to be so before it is saved.
pub(crate) fn not_paused() -> Error {
    Error::new(ErrorKind::InvalidState, "it is not paused").with_remedy("park the machine first")
}
