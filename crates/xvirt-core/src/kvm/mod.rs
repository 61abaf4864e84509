//! The objects KVM gives us, with errors that say what to do.
//!
//! `system` is `/dev/kvm`, `vm` one virtual machine, `vcpu` one of its processors, `interrupts` the lines and messages
//! that reach them, `kick` the signal that makes a running vCPU look up, and `thread_time` how much of the host's
//! processors a thread has taken.

mod interrupts;
mod kick;
mod system;
mod thread_time;
mod vcpu;
mod vm;

pub(crate) use interrupts::{InterruptLine, MessageInterrupt};
pub(crate) use kick::{KickSignal, Kicker};
pub(crate) use system::System;
pub(crate) use thread_time::ThreadTime;
pub(crate) use vcpu::Vcpu;
pub(crate) use vm::Vm;

use std::io;

use crate::Error;

/// An error of a KVM call that has no better explanation than the kernel's.
pub(crate) fn kvm_error(what: impl Into<String>, error: kvm_ioctls::Error) -> Error {
    Error::io(what, io::Error::from_raw_os_error(error.errno()))
}
