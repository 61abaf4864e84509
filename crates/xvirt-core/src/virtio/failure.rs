//! Reports to the owner that the host cannot serve a device.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Error;

/// Receives the failure on a vCPU's or the device's thread. It must not block.
type Listener = Box<dyn Fn(&Error) + Send + Sync>;

/// Reports the failures of a device. A guest can cause them at any rate, so only the first is reported until the device
/// works again.
#[derive(Default)]
pub(super) struct Failures {
    listener: OnceLock<Listener>,
    told: AtomicBool,
}

impl Failures {
    /// Reports to `listener` from now on. Only the first call has an effect.
    pub(super) fn listen(&self, listener: Listener) {
        // It is called once per device.
        let _ = self.listener.set(listener);
    }

    pub(super) fn tell(&self, error: &Error) {
        if !self.told.swap(true, Ordering::Relaxed)
            && let Some(listener) = self.listener.get()
        {
            listener(error);
        }
    }

    /// Forgets the last failure: the worker has served the device, or the machine restarts.
    pub(super) fn forget(&self) {
        self.told.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failures").field("told", &self.told).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::RawFd;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::device::Device;
    use crate::virtio::testing::{Bare, DATA, EVENT_IDX, Piece, Rig, wait};
    use crate::virtio::{Chain, DeviceKind, DeviceState, Handler, Queues, Served, VirtioDevice};
    use crate::{ErrorKind, Result};

    const NEEDS_RESET: u8 = 0x40;

    /// A device that the host cannot serve while `kind` is set.
    #[derive(Debug)]
    struct Wanting {
        kind: Mutex<Option<ErrorKind>>,
    }

    impl VirtioDevice for Wanting {
        fn kind(&self) -> DeviceKind {
            DeviceKind::Rng
        }
        fn queue_sizes(&self) -> &[u16] {
            &[16]
        }
        fn features(&self) -> u64 {
            0
        }
        fn read_config(&self, _: usize, _: &mut [u8]) {}
        fn activate(&self, _: u64) -> Result<Box<dyn Handler>> {
            match *self.kind.lock().unwrap() {
                Some(kind) => Err(Error::new(kind, "something is wanting")),
                None => Ok(Box::new(Watching(None))),
            }
        }
        fn save(&self) -> DeviceState {
            DeviceState::Rng
        }
    }

    /// Polls a descriptor and answers requests.
    struct Watching(Option<RawFd>);

    impl Handler for Watching {
        fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
            queues.get(index).map_or(Ok(()), |queue| queue.drain(&mut Chain::default(), |_| Ok(0)))
        }
        fn input(&self) -> Option<RawFd> {
            self.0
        }
        fn receive(&mut self, _: &mut Queues) -> Served {
            Ok(())
        }
    }

    /// Collects the reported failures of a device.
    fn told(rig: &Rig) -> Arc<Mutex<Vec<String>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&told);
        rig.pci.on_failure(move |error| hears.lock().unwrap().push(error.to_string()));
        told
    }

    #[test]
    fn what_is_wanting_is_told_once_until_the_device_works() {
        let device = Arc::new(Wanting { kind: Mutex::new(None) });
        let mut rig = Rig::new(Arc::clone(&device) as _);
        let told = told(&rig);
        let mut drivers = |kind, count: usize| {
            *device.kind.lock().unwrap() = kind;
            for _ in 0..count {
                rig.start(EVENT_IDX);
                if kind.is_none() {
                    rig.request(0, &[Piece::Write(DATA, 8)]);
                }
                assert_eq!(rig.status() & NEEDS_RESET != 0, kind.is_some());
                rig.set_status(0);
            }
            told.lock().unwrap().len()
        };
        assert_eq!(drivers(None, 2), 0);
        assert_eq!(drivers(Some(ErrorKind::Io), 100), 1);
        assert_eq!(drivers(None, 1), 1);
        assert_eq!(drivers(Some(ErrorKind::OutOfDescriptors), 2), 2);
        // That is the guest's own fault.
        assert_eq!(drivers(None, 1) + drivers(Some(ErrorKind::GuestFault), 2), 4);
        assert_eq!(told.lock().unwrap()[0], "something is wanting");
    }

    #[test]
    fn what_a_worker_finds_wanting_is_told_once_until_the_device_works() {
        // No process has so many.
        const CLOSED: RawFd = RawFd::MAX;
        let watched = Arc::new(Mutex::new(None));
        let watches = Arc::clone(&watched);
        let handler = move || Box::new(Watching(*watches.lock().unwrap())) as _;
        let mut rig = Rig::new(Arc::new(Bare { work: None, handler }));
        let told = told(&rig);
        for expected in [1, 2] {
            *watched.lock().unwrap() = Some(CLOSED);
            for _ in 0..100 {
                rig.start(0);
                rig.wait_needs_reset();
                rig.set_status(0);
            }
            assert_eq!(told.lock().unwrap().len(), expected);
            *watched.lock().unwrap() = None;
            rig.start(0);
            rig.request(0, &[Piece::Write(DATA, 8)]);
            rig.set_status(0);
        }
        let reason = told.lock().unwrap()[0].clone();
        assert!(reason.starts_with("cannot watch a device's event: Bad file descriptor"), "{reason}");
        // After a restart, failures are reported again.
        *watched.lock().unwrap() = Some(CLOSED);
        for expected in [3, 4] {
            rig.start(0);
            wait("the failure to be told", || told.lock().unwrap().len() == expected);
            rig.pci.reset().unwrap();
        }
    }
}
