//! The panic port (pvpanic), by which a guest's kernel reports that it panicked.
//!
//! Source: QEMU, `docs/specs/pvpanic.rst`. Reading the port yields the supported events.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

use super::Device;
use crate::Result;
use crate::bus::BusDevice;

/// The guest panicked and stopped.
const PANICKED: u8 = 1;
/// The guest panicked and continues in its crash kernel.
const CRASH_LOADED: u8 = 2;

/// The receiver of panic reports.
pub(crate) trait PanicHost: Send + Sync + fmt::Debug {
    /// The guest panicked; `crash_kernel` says whether a crash kernel takes over.
    fn panicked(&self, crash_kernel: bool);
}

/// The events that the guest has reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PanicState {
    told: u8,
}

/// The panic port.
#[derive(Debug)]
pub(crate) struct Panic<H> {
    host: H,
    /// The events reported so far; a guest may write the same event any number of times.
    told: AtomicU8,
}

impl<H: PanicHost> Panic<H> {
    pub(crate) fn new(host: H, state: Option<PanicState>) -> Self {
        Self { host, told: AtomicU8::new(state.unwrap_or_default().told) }
    }
}

impl<H: PanicHost> Device for Panic<H> {
    type State = PanicState;

    fn name(&self) -> &'static str {
        "panic port"
    }

    /// The port is passive.
    fn pause(&self) {}

    fn resume(&self) {}

    fn reset(&self) -> Result<()> {
        self.told.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn save(&self) -> Result<PanicState> {
        Ok(PanicState { told: self.told.load(Ordering::Relaxed) })
    }
}

impl<H: PanicHost> BusDevice for Panic<H> {
    fn read(&self, _: u64, data: &mut [u8]) {
        data.fill(PANICKED | CRASH_LOADED);
    }

    fn write(&self, _: u64, data: &[u8]) {
        let Some(event) = data.first() else { return };
        let event = event & (PANICKED | CRASH_LOADED);
        let new = event & !self.told.fetch_or(event, Ordering::Relaxed);
        if new != 0 {
            self.host.panicked(new & CRASH_LOADED != 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::device::testing::{RoundTrip, go_round};

    impl PanicHost for Arc<Mutex<Vec<bool>>> {
        fn panicked(&self, crash_kernel: bool) {
            self.lock().unwrap().push(crash_kernel);
        }
    }

    #[test]
    fn each_event_is_told_once_until_reset() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let port = Panic::new(told.clone(), None);
        let mut events = [0];
        port.read(0, &mut events);
        assert_eq!(events, [3]);
        for event in [0, 4, 0x80, 2, 2, 1, 1, 3] {
            port.write(0, &[event]);
        }
        port.write(0, &[]);
        assert_eq!(*told.lock().unwrap(), [true, false]);
        port.reset().unwrap();
        port.write(0, &[1]);
        assert_eq!(*told.lock().unwrap(), [true, false, false]);
    }

    impl RoundTrip for PanicState {
        fn round_trip() {
            let new = |state| Panic::new(Arc::new(Mutex::new(Vec::new())), state);
            go_round(1, 0..1, new, |_, _| {}, |_| PanicState::default());
            let told = Arc::new(Mutex::new(Vec::new()));
            Panic::new(told.clone(), Some(PanicState { told: PANICKED })).write(0, &[PANICKED]);
            assert!(told.lock().unwrap().is_empty(), "it was told before it was saved");
        }
    }
}
