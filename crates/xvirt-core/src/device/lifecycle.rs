//! The operations of a machine on each of its devices: pause, resume, reset, save.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind, Result};

/// A device of a machine.
///
/// A machine keeps its devices in a fixed order and applies each operation in that order, except pausing, which goes
/// backwards. It calls one method of one device at a time. vCPU threads access a device only while it runs:
///
/// ```text
/// new ── resume ──► running ── (vCPUs park) ── pause ──► paused ── resume ──► running (and vCPUs run)
///                                                        │    ▲
///                                                        └────┘ reset, save
/// ```
///
/// A device is constructed from its backend and an optional [`State`](Self::State): restoring is construction, not a
/// method. A new device is paused, except a PCI function, which may be plugged into a running machine; a parked machine
/// pauses it after construction.
///
/// No method has a default body: each device states explicitly what it does not need.
pub(crate) trait Device: Send + Sync + fmt::Debug {
    /// All guest-visible differences to a new device, as plain data: no host paths, file descriptors, host limits or
    /// host clock readings.
    type State: Serialize + DeserializeOwned
    where
        Self: Sized;

    /// The name of the device for messages, such as "serial port".
    fn name(&self) -> &'static str;

    /// Stops all activity of the device.
    ///
    /// All vCPUs are parked, and the devices later in the order are paused. This may wait for requests in flight, but
    /// not for the guest or for an owner. Afterwards the device touches neither guest memory nor its backend, takes no
    /// input and raises no interrupt by itself, and its clock stands still until it is resumed. Requests of its owner
    /// (press a button, plug in a device) still change its state. Pausing a paused device has no effect.
    fn pause(&self);

    /// Starts the device, or continues after a pause.
    ///
    /// All vCPUs are parked, and the devices earlier in the order run. This must not wait. Notifications and events may
    /// have been lost during the pause, so the device checks for work by itself. Resuming a running device has no
    /// effect.
    fn resume(&self);

    /// Resets the device to power-on. To the guest it is a new device, except for state that survives a reset in a PC,
    /// which the implementation documents. Settings of its owner, such as the size of a disk, and limits stay.
    ///
    /// All vCPUs are parked, and all devices are paused and stay paused. This may wait for a thread of the device to
    /// end.
    ///
    /// # Errors
    /// The host lacks a resource, or another device, which is reset later, still occupies the device's address; the
    /// caller then tries once more after all others are reset.
    fn reset(&self) -> Result<()>;

    /// The state with which a constructor can continue this device elsewhere.
    ///
    /// All vCPUs are parked, and all devices are paused. Saving neither waits nor changes anything, so saving twice
    /// yields the same state.
    ///
    /// # Errors
    /// The device cannot be saved; the error gives the reason, and the caller adds the device's name.
    fn save(&self) -> Result<Self::State>
    where
        Self: Sized;
}

/// Resets all devices in their order, even if some fail, and returns the first error.
pub(crate) fn reset_all<'a>(devices: impl IntoIterator<Item = &'a dyn Device>) -> Result<()> {
    let mut devices: Vec<_> = devices.into_iter().collect();
    // The guest may have moved one PCI function to another's home address, which is free only once all others are
    // reset.
    devices.retain(|device| device.reset().is_err());
    devices.iter().map(|device| device.reset()).fold(Ok(()), Result::and)
}

/// The error for saving a device that is not paused.
pub(crate) fn not_paused() -> Error {
    Error::new(ErrorKind::InvalidState, "it is not paused").with_remedy("park the machine first")
}
