//! Wrappers of KVM's objects, whose errors name remedies.
//!
//! `system` is `/dev/kvm`, `vm` a virtual machine, `vcpu` a virtual processor, `interrupts` its interrupt lines,
//! `dirty_log` the log of what it writes to memory, `kick` the signal that interrupts a running vCPU, and `thread_time`
//! the CPU time of a thread. `plain` and `xsave` turn KVM's structures into bytes.

mod clock;
mod dirty_log;
mod interrupts;
mod kick;
pub(crate) mod plain;
mod system;
mod thread_time;
mod vcpu;
mod vm;
mod xsave;

pub(crate) use clock::{Clock, real_time};
pub(crate) use dirty_log::DirtyLog;
pub(crate) use interrupts::InterruptLine;
pub(crate) use kick::{KickSignal, Kicker};
pub(crate) use system::System;
pub(crate) use thread_time::ThreadTime;
pub(crate) use vcpu::Vcpu;
pub(crate) use vm::Vm;

use std::io;

use crate::Error;

/// An error of a KVM call without a better explanation than the kernel's.
pub(crate) fn kvm_error(what: impl Into<String>, error: kvm_ioctls::Error) -> Error {
    Error::io(what, io::Error::from_raw_os_error(error.errno()))
}
