//! Connects power management and the panic port to the machine: an interrupt line and the owner's signals.

use std::sync::Arc;

use super::signal::{Signal, Signals};
use crate::device::panic::PanicHost;
use crate::device::power::{PowerHost, PowerRequest};
use crate::kvm::InterruptLine;

#[derive(Debug)]
pub(super) struct PowerLine {
    pub(super) line: InterruptLine,
    pub(super) signals: Arc<Signals>,
}

impl PowerHost for PowerLine {
    fn request(&self, request: PowerRequest) {
        self.signals.send(match request {
            PowerRequest::Off => Signal::PowerOff,
            PowerRequest::Reset => Signal::Reset,
        });
    }

    fn set_interrupt(&self, active: bool) {
        self.line.set(active);
    }
}

#[derive(Debug)]
pub(super) struct PanicLine(pub(super) Arc<Signals>);

impl PanicHost for PanicLine {
    fn panicked(&self, crash_kernel: bool) {
        self.0.send(Signal::Panicked(crash_kernel));
    }
}
