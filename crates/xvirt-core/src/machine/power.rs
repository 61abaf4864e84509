//! How power management reaches the machine: an interrupt line and the owner's signals.

use std::sync::Arc;

use super::signal::{Signal, Signals};
use crate::arch::x86_64::layout;
use crate::device::power::{PowerHost, PowerRequest};
use crate::kvm;

#[derive(Debug)]
pub(super) struct PowerLine {
    pub(super) vm: Arc<kvm::Vm>,
    pub(super) signals: Signals,
}

impl PowerHost for PowerLine {
    fn request(&self, request: PowerRequest) {
        self.signals.send(match request {
            PowerRequest::Off => Signal::PowerOff,
            PowerRequest::Reset => Signal::Reset,
        });
    }

    fn set_interrupt(&self, active: bool) {
        self.vm.set_line(layout::POWER_INTERRUPT, active);
    }
}
