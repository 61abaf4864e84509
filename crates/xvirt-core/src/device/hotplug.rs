//! The hot plug controller, by which the guest's ACPI code learns of plugged PCI devices and ejects them.
//!
//! | offset | bytes | register | access |
//! |---|---|---|---|
//! | 0 | 4 | slots into which a device was plugged | read, which clears it |
//! | 4 | 4 | slots whose device is to be ejected | read, which clears it |
//! | 8 | 4 | slots whose device the guest ejects | write |
//!
//! Each bit is a slot of PCI bus 0. A change raises a general-purpose event, whose method in the DSDT reads both
//! registers and notifies the slots (ACPI specification 6.5, section 5.6.6: 1 is a device check, 3 an eject request);
//! `_EJ0` of a slot (section 6.3.3) writes the third register. A guest without ACPI code may access the registers
//! directly.

use std::fmt;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::Device;
use crate::bus::BusDevice;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// The number of ports.
pub(crate) const PORTS: u64 = 12;

const INSERTED: u64 = 0;
const REMOVAL: u64 = 4;
const EJECT: u64 = 8;

/// The machine, as the controller sees it.
pub(crate) trait HotPlugHost: Send + Sync + fmt::Debug {
    /// Notifies the guest that registers have changed.
    fn notify(&self);

    /// Ejects the devices in `slots`, one bit each. The guest may name any slots.
    fn eject(&self, slots: u32);

    /// The slots whose device the guest has ejected but the machine has not removed yet, one bit each.
    fn ejected(&self) -> u32;
}

/// Events that the guest has not read yet, one bit per slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HotPlugState {
    inserted: u32,
    removal: u32,
}

/// The hot plug controller.
#[derive(Debug)]
pub(crate) struct HotPlug<H> {
    host: H,
    state: Mutex<HotPlugState>,
}

impl<H: HotPlugHost> HotPlug<H> {
    pub(crate) fn new(host: H, state: Option<HotPlugState>) -> Self {
        Self { host, state: Mutex::new(state.unwrap_or_default()) }
    }

    pub(crate) fn host(&self) -> &H {
        &self.host
    }

    /// Notifies the guest of a new device in `slot`.
    pub(crate) fn inserted(&self, slot: usize) {
        lock(&self.state).inserted |= bit(slot);
        self.host.notify();
    }

    /// Asks the guest to eject the device in `slot`.
    pub(crate) fn request_removal(&self, slot: usize) {
        lock(&self.state).removal |= bit(slot);
        self.host.notify();
    }

    /// Notifies the guest again of unread events: a guest that is booting loses events, and reads the registers only on
    /// an event.
    pub(crate) fn remind(&self) {
        if *lock(&self.state) != HotPlugState::default() {
            self.host.notify();
        }
    }

    /// Discards unread events of `slot`.
    pub(crate) fn forget(&self, slot: usize) {
        let mut state = lock(&self.state);
        state.inserted &= !bit(slot);
        state.removal &= !bit(slot);
    }

    /// Withdraws an eject request that the guest has not read yet.
    pub(crate) fn withdraw_request(&self, slot: usize) {
        lock(&self.state).removal &= !bit(slot);
    }
}

impl<H: HotPlugHost> Device for HotPlug<H> {
    type State = HotPlugState;

    fn name(&self) -> &'static str {
        "hot plug controller"
    }

    /// The controller is passive.
    fn pause(&self) {}

    fn resume(&self) {}

    /// After a reset the guest enumerates the bus, so it needs no events.
    fn reset(&self) -> Result<()> {
        *lock(&self.state) = HotPlugState::default();
        Ok(())
    }

    /// # Errors
    /// The machine still has a device that the guest has ejected: after a restore, the guest would have it again.
    fn save(&self) -> Result<HotPlugState> {
        match self.host.ejected() {
            0 => Ok(lock(&self.state).clone()),
            slots => {
                let slot = slots.trailing_zeros();
                let what = format!("the guest has ejected the device in PCI slot {slot}, which is still there");
                Err(Error::new(ErrorKind::InvalidState, what).with_remedy("remove it first"))
            }
        }
    }
}

impl<H: HotPlugHost> BusDevice for HotPlug<H> {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let Ok(register) = <&mut [u8; 4]>::try_from(data) else { return };
        let mut state = lock(&self.state);
        let slots = match offset {
            INSERTED => std::mem::take(&mut state.inserted),
            REMOVAL => std::mem::take(&mut state.removal),
            _ => 0,
        };
        *register = slots.to_le_bytes();
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let Ok(slots) = data.try_into().map(u32::from_le_bytes) else { return };
        if offset == EJECT {
            self.host.eject(slots);
        }
    }
}

fn bit(slot: usize) -> u32 {
    1u32.checked_shl(slot as u32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xvirt_testing::random::Random;

    use super::*;
    use crate::device::testing::{RoundTrip, go_round};

    #[derive(Debug, Default)]
    struct Recorder {
        notified: Mutex<u32>,
        ejected: Mutex<Vec<u32>>,
    }

    impl HotPlugHost for Arc<Recorder> {
        fn notify(&self) {
            *self.notified.lock().unwrap() += 1;
        }

        fn eject(&self, slots: u32) {
            self.ejected.lock().unwrap().push(slots);
        }

        fn ejected(&self) -> u32 {
            self.ejected.lock().unwrap().iter().fold(0, |all, slots| all | slots)
        }
    }

    /// A machine that removes ejected devices at once.
    #[derive(Debug)]
    struct Deaf;

    impl HotPlugHost for Deaf {
        fn notify(&self) {}
        fn eject(&self, _: u32) {}
        fn ejected(&self) -> u32 {
            0
        }
    }

    fn device() -> (HotPlug<Arc<Recorder>>, Arc<Recorder>) {
        let host = Arc::new(Recorder::default());
        (HotPlug::new(Arc::clone(&host), None), host)
    }

    fn read(device: &HotPlug<Arc<Recorder>>, offset: u64) -> u32 {
        let mut data = [0xff; 4];
        device.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn the_guest_reads_once_what_came_and_what_is_to_go() {
        let (device, host) = device();
        device.inserted(3);
        device.inserted(31);
        device.request_removal(5);
        assert_eq!(*host.notified.lock().unwrap(), 3);
        assert_eq!((read(&device, INSERTED), read(&device, INSERTED)), (1 << 3 | 1 << 31, 0));
        assert_eq!((read(&device, REMOVAL), read(&device, REMOVAL)), (1 << 5, 0));
    }

    #[test]
    fn an_eject_reaches_the_machine() {
        let (device, host) = device();
        device.write(EJECT, &(1u32 << 5 | 1 << 31).to_le_bytes());
        assert_eq!(*host.ejected.lock().unwrap(), [1 << 5 | 1 << 31]);
    }

    #[test]
    fn only_what_was_not_read_is_told_again() {
        let (device, host) = device();
        device.request_removal(4);
        device.remind();
        assert_eq!(*host.notified.lock().unwrap(), 2);
        read(&device, REMOVAL);
        device.remind();
        assert_eq!(*host.notified.lock().unwrap(), 2);
    }

    #[test]
    fn a_request_is_withdrawn_and_a_device_forgotten() {
        let (device, _) = device();
        device.inserted(4);
        device.request_removal(4);
        device.withdraw_request(4);
        assert_eq!(device.save().unwrap(), HotPlugState { inserted: 1 << 4, removal: 0 });
        device.forget(4);
        assert_eq!(device.save().unwrap(), HotPlugState::default());
    }

    #[test]
    fn other_accesses_neither_clear_nor_eject() {
        let (device, host) = device();
        device.inserted(4);
        for (offset, length) in [(0, 1), (0, 2), (0, 8), (1, 4), (2, 2), (8, 4), (12, 4), (u64::MAX, 4)] {
            let mut data = vec![0xff; length];
            device.read(offset, &mut data);
            assert_eq!(data, vec![0; length], "{offset} {length}");
        }
        for (offset, length) in [(0, 4), (4, 4), (8, 1), (8, 2), (8, 8), (9, 4)] {
            device.write(offset, &vec![0xff; length]);
        }
        assert!(host.ejected.lock().unwrap().is_empty());
        assert_eq!(read(&device, INSERTED), 1 << 4);
    }

    #[test]
    fn it_is_not_saved_with_a_device_that_the_guest_has_let_go_of() {
        let (device, _) = device();
        device.write(EJECT, &(1u32 << 5 | 1 << 7).to_le_bytes());
        let error = device.save().unwrap_err();
        let text = "the guest has ejected the device in PCI slot 5, which is still there; remove it first";
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidState, text));
    }

    impl RoundTrip for HotPlugState {
        fn round_trip() {
            let stir = |device: &HotPlug<_>, random: &mut Random| match random.below(4) {
                0 => device.inserted(random.below(32)),
                1 => device.request_removal(random.below(32)),
                _ => {}
            };
            let new = |state| HotPlug::new(Deaf, state);
            go_round(PORTS, 0..PORTS, new, stir, |_| HotPlugState::default());
        }
    }
}
