//! All devices of a machine in one order, and what they are saved as.

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
use crate::device::watchdog::WatchdogState;
use crate::pci::PciBusState;
use crate::sync::lock;
use crate::virtio::VirtioPciState;
use crate::{Error, Result};

/// A device as it is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedDevice {
    /// The PCI slot that it is in, if it is a PCI function.
    pub(crate) slot: Option<usize>,
    /// What its constructor takes.
    pub(crate) state: SavedState,
}

/// Lists what a device can be saved as: a variant for each type of state, by which it is made of one.
macro_rules! saved_state {
    ($($(#[$doc:meta])* $variant:ident($state:ty),)*) => {
        /// The state of any device.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum SavedState {
            $($(#[$doc])* $variant($state),)*
        }

        $(impl From<$state> for SavedState {
            fn from(state: $state) -> Self {
                Self::$variant(state)
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

/// A device of any type whose state can be saved. A new type of device needs a variant of [`SavedState`] to be one.
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

/// A device in its place.
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
    /// All devices, in the order in which they are resumed, reset and saved; they are paused in the opposite one.
    ///
    /// A device comes after those that it needs, and PCI functions come in the order of their slots. The watchdog is the
    /// last: it is paused before the functions, which may have requests in flight for as long as disks take, and the
    /// guest can do nothing for it meanwhile. Power management is paused after them, so that its timer is read when
    /// everything else stands still.
    pub(super) fn devices(&self) -> Vec<Placed> {
        let Platform { pci, serial, rtc, power, hotplug, panic, watchdog } = &self.platform;
        let fixed = |device| Placed { slot: None, device };
        let first: [Arc<dyn AnyDevice>; 6] =
            [pci.clone(), serial.clone(), rtc.clone(), power.clone(), hotplug.clone(), panic.clone()];
        let functions = lock(&self.functions);
        let functions = functions.iter().map(|(slot, function)| Placed { slot: Some(*slot), device: function.clone() });
        first.map(fixed).into_iter().chain(functions).chain(iter::once(fixed(watchdog.clone()))).collect()
    }

    /// What all devices are constructed from elsewhere, in their order. The machine is parked.
    ///
    /// # Errors
    /// A device cannot be saved; the error says which, and why.
    #[cfg_attr(not(all(test, feature = "demo")), expect(dead_code, reason = "only tests save a machine so far"))]
    pub(crate) fn save(&self) -> Result<Vec<SavedDevice>> {
        self.devices().iter().map(Placed::save).collect()
    }
}
