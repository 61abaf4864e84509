//! The host side of PCI functions: KVM's messages and ioeventfds, and the memory bus.

use std::sync::{Arc, Mutex};

use vmm_sys_util::eventfd::EventFd;

use super::signal::{Signal, Signals};
use crate::Result;
use crate::bus::{Bus, BusDevice};
use crate::cgroup::OutsideGroup;
use crate::kvm;
use crate::pci::PciHost;
use crate::sync::lock;
use crate::thread::Panicked;

/// The machine, as a PCI function sees it.
#[derive(Debug)]
pub(super) struct MachinePciHost {
    pub(super) vm: Arc<kvm::Vm>,
    pub(super) memory: Arc<Bus>,
    pub(super) signals: Arc<Signals>,
    /// Whether device threads get seccomp filters.
    pub(super) seccomp: bool,
    /// The control group for device threads that vCPUs start, if the vCPU threads are in a limited group of their own.
    pub(super) outside: Mutex<Option<OutsideGroup>>,
}

impl PciHost for MachinePciHost {
    fn send_message(&self, address: u64, data: u32) -> Result<()> {
        self.vm.send_message(address, data)
    }

    fn attach_doorbell(&self, address: u64, event: &EventFd) -> Result<()> {
        self.vm.attach_doorbell(address, event)
    }

    fn detach_doorbell(&self, address: u64, event: &EventFd) -> Result<()> {
        self.vm.detach_doorbell(address, event)
    }

    fn map(&self, base: u64, length: u64, device: Arc<dyn BusDevice>) -> Result<()> {
        self.memory.insert(base, length, device)
    }

    fn unmap(&self, base: u64, length: u64) -> Result<()> {
        self.memory.remove(base, length).map(drop)
    }

    fn filters_threads(&self) -> bool {
        self.seccomp
    }

    fn thread_begins(&self) {
        if let Some(outside) = &*lock(&self.outside) {
            outside.enter();
        }
    }

    fn thread_panicked(&self, panic: Panicked) {
        self.signals.send(Signal::Crashed(panic.into()));
    }
}
