//! A fake machine and function for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use vmm_sys_util::eventfd::EventFd;

use super::config::{ConfigSpace, Identity};
use super::host::PciHost;
use super::slots::PciFunction;
use crate::Result;
use crate::bus::{Bus, BusDevice};
use crate::thread::Panicked;

/// A machine that records requests.
#[derive(Debug)]
pub(crate) struct TestHost {
    pub(crate) mmio: Bus,
    /// The messages sent since they were taken.
    messages: Mutex<Vec<(u64, u32)>>,
    doorbells: Mutex<BTreeMap<u64, EventFd>>,
    maps: Mutex<usize>,
    panics: Mutex<Vec<Panicked>>,
}

impl TestHost {
    pub(crate) fn new() -> Self {
        Self {
            mmio: Bus::new("test"),
            messages: Mutex::default(),
            doorbells: Mutex::default(),
            maps: Mutex::default(),
            panics: Mutex::default(),
        }
    }

    /// The messages with this data that were sent since the last call, by their addresses.
    pub(crate) fn taken(&self, data: u32) -> Vec<u64> {
        let taken = self.messages.lock().unwrap().extract_if(.., |message| message.1 == data).collect::<Vec<_>>();
        taken.into_iter().map(|message| message.0).collect()
    }

    /// Signals the ioeventfd at `address`; `false` if there is none.
    pub(crate) fn ring(&self, address: u64) -> bool {
        self.doorbells.lock().unwrap().get(&address).is_some_and(|event| event.write(1).is_ok())
    }

    pub(crate) fn doorbells(&self) -> Vec<u64> {
        self.doorbells.lock().unwrap().keys().copied().collect()
    }

    /// The number of mappings made.
    pub(crate) fn maps(&self) -> usize {
        *self.maps.lock().unwrap()
    }

    /// The panics of device threads.
    pub(crate) fn panics(&self) -> Vec<Panicked> {
        self.panics.lock().unwrap().clone()
    }
}

impl PciHost for TestHost {
    fn send_message(&self, address: u64, data: u32) -> Result<()> {
        self.messages.lock().unwrap().push((address, data));
        Ok(())
    }

    fn attach_doorbell(&self, address: u64, event: &EventFd) -> Result<()> {
        let old = self.doorbells.lock().unwrap().insert(address, event.try_clone().unwrap());
        assert!(old.is_none(), "two doorbells at {address:#x}");
        Ok(())
    }

    fn detach_doorbell(&self, address: u64, _: &EventFd) -> Result<()> {
        assert!(self.doorbells.lock().unwrap().remove(&address).is_some(), "no doorbell at {address:#x}");
        Ok(())
    }

    fn map(&self, base: u64, length: u64, device: Arc<dyn BusDevice>) -> Result<()> {
        *self.maps.lock().unwrap() += 1;
        self.mmio.insert(base, length, device)
    }

    fn unmap(&self, base: u64, length: u64) -> Result<()> {
        self.mmio.remove(base, length).map(|_| ())
    }

    fn filters_threads(&self) -> bool {
        cfg!(feature = "seccomp")
    }

    fn thread_begins(&self) {}

    fn thread_panicked(&self, panic: Panicked) {
        self.panics.lock().unwrap().push(panic);
    }
}

/// A function with only registers.
#[derive(Debug)]
pub(crate) struct TestFunction(Mutex<ConfigSpace>);

impl TestFunction {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(ConfigSpace::new(Identity {
            vendor: 0x1af4,
            device: 0x1042,
            revision: 1,
            class: 0x01_80_00,
            subsystem_vendor: 0x1af4,
            subsystem: 0x42,
        })))
    }
}

impl PciFunction for TestFunction {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        self.0.lock().unwrap().read(offset.into(), data);
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        self.0.lock().unwrap().write(offset.into(), data);
    }
}
