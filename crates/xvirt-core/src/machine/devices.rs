//! All devices of a machine in a fixed order, and their saved state.

use std::iter;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Machine;
use super::platform::Platform;
use crate::device::Device;
use crate::device::hotplug::HotPlugState;
use crate::device::panic::PanicState;
use crate::device::power::PowerState;
use crate::device::rtc::RtcState;
use crate::device::serial::SerialState;
#[cfg(test)]
use crate::device::testing::RoundTrip;
use crate::device::watchdog::WatchdogState;
use crate::pci::PciBusState;
use crate::sync::lock;
use crate::virtio::VirtioPciState;
use crate::{Error, Result};

/// The saved state of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedDevice {
    /// The PCI slot of a PCI function.
    pub(crate) slot: Option<usize>,
    /// The state that the device's constructor takes.
    pub(crate) state: SavedState,
}

/// Defines [`SavedState`] with a variant for each type of state, and conversions for each variant.
macro_rules! saved_state {
    ($($(#[$doc:meta])* $variant:ident($state:ty),)*) => {
        /// The state of any device.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum SavedState {
            $($(#[$doc])* $variant($state),)*
        }

        /// The test of each type of device. One without a test does not compile.
        #[cfg(test)]
        const ROUND_TRIPS: &[(&str, fn())] = &[$((stringify!($variant), <$state as RoundTrip>::round_trip),)*];

        $(impl From<$state> for SavedState {
            fn from(state: $state) -> Self {
                Self::$variant(state)
            }
        }

        impl<'a> TryFrom<&'a SavedState> for &'a $state {
            type Error = ();

            fn try_from(saved: &'a SavedState) -> std::result::Result<Self, ()> {
                match saved {
                    SavedState::$variant(state) => Ok(state),
                    _ => Err(()),
                }
            }
        })*
    };
}

saved_state! {
    /// The PCI bus with its host bridge.
    PciBus(PciBusState),
    /// The serial port.
    Serial(SerialState),
    /// The real-time clock.
    Rtc(RtcState),
    /// Power management with its timer.
    Power(PowerState),
    /// The hot plug controller.
    HotPlug(HotPlugState),
    /// The panic port.
    Panic(PanicState),
    /// A virtio device.
    Virtio(VirtioPciState),
    /// The watchdog.
    Watchdog(WatchdogState),
}

/// A device of any type whose state can be saved. A new type of device needs a variant of [`SavedState`].
pub(super) trait AnyDevice: Device {
    fn save_any(&self) -> Result<SavedState>;
}

impl<D: Device> AnyDevice for D
where
    SavedState: From<D::State>,
{
    fn save_any(&self) -> Result<SavedState> {
        self.save().map(SavedState::from)
    }
}

/// A device and its PCI slot, if it has one.
#[derive(Debug)]
pub(super) struct Placed {
    slot: Option<usize>,
    pub(super) device: Arc<dyn AnyDevice>,
}

impl Placed {
    fn save(&self) -> Result<SavedDevice> {
        let state = self.device.save_any().map_err(|error| {
            let place = self.slot.map(|slot| format!(" in PCI slot {slot}")).unwrap_or_default();
            Error::new(error.kind(), format!("the {}{place} cannot be saved", self.device.name())).because(error)
        })?;
        Ok(SavedDevice { slot: self.slot, state })
    }
}

impl Machine {
    /// All devices, in the order of resume, reset and save; pausing goes in the opposite order.
    ///
    /// A device comes after those that it needs, and PCI functions come in the order of their slots. The watchdog comes
    /// last, so it is paused first: pausing the functions may take as long as their disk requests in flight, and that
    /// time must not count against the guest. Power management is paused after the functions, so its timer is read when
    /// everything else has stopped.
    pub(super) fn devices(&self) -> Vec<Placed> {
        let Platform { pci, serial, rtc, power, hotplug, panic, watchdog } = &self.platform;
        let fixed = |device| Placed { slot: None, device };
        let first: [Arc<dyn AnyDevice>; 6] =
            [pci.clone(), serial.clone(), rtc.clone(), power.clone(), hotplug.clone(), panic.clone()];
        let functions = lock(&self.functions);
        let functions = functions.iter().map(|(slot, function)| Placed { slot: Some(*slot), device: function.clone() });
        first.map(fixed).into_iter().chain(functions).chain(iter::once(fixed(watchdog.clone()))).collect()
    }

    /// The saved state of all devices, in their order. The machine must be parked.
    ///
    /// # Errors
    /// A device cannot be saved; the error names the device and the reason.
    pub(super) fn save_devices(&self) -> Result<Vec<SavedDevice>> {
        self.devices().iter().map(Placed::save).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_is_saved_alike_after_a_restore() {
        for (name, round_trip) in ROUND_TRIPS {
            println!("{name}");
            round_trip();
        }
    }
}
