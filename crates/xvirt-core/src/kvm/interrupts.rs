//! Interrupt lines of the in-kernel controllers.

use std::sync::Arc;

use kvm_ioctls::VmFd;

/// A line of the in-kernel interrupt controllers.
#[derive(Clone, Debug)]
pub(crate) struct InterruptLine {
    vm: Arc<VmFd>,
    gsi: u32,
}

impl InterruptLine {
    pub(super) fn new(vm: Arc<VmFd>, gsi: u32) -> Self {
        Self { vm, gsi }
    }

    /// Sets the level of the line.
    pub(crate) fn set(&self, active: bool) {
        // Fails only for lines that do not exist; all lines in use are constants.
        let _ = self.vm.set_irq_line(self.gsi, active);
    }

    /// Pulses the line for an edge-triggered interrupt.
    pub(crate) fn pulse(&self) {
        self.set(true);
        self.set(false);
    }
}
