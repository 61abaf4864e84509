//! The clock of a virtual machine, which guests read as kvmclock.

use std::time::{SystemTime, UNIX_EPOCH};

use kvm_bindings::{KVM_CLOCK_REALTIME, kvm_clock_data};
use serde::{Deserialize, Serialize};

use super::{Vm, kvm_error};
use crate::Result;

/// KVM's clock of a VM and the host's real time, read at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clock {
    /// KVM's clock, in nanoseconds since the VM was made.
    pub(crate) kvm: u64,
    /// The host's real time (`CLOCK_REALTIME`), in nanoseconds since 1970.
    pub(crate) real: u64,
}

impl Vm {
    /// Reads the clock.
    pub(crate) fn clock(&self) -> Result<Clock> {
        let data = self.fd.get_clock().map_err(|e| kvm_error("cannot read the clock of the VM", e))?;
        // Before Linux 5.16, KVM does not give the real time with it.
        let real = if data.flags & KVM_CLOCK_REALTIME != 0 { data.realtime } else { real_time() };
        Ok(Clock { kvm: data.clock, real })
    }

    /// Sets the clock to `nanoseconds`.
    pub(crate) fn set_clock(&self, nanoseconds: u64) -> Result<()> {
        let data = kvm_clock_data { clock: nanoseconds, ..Default::default() };
        self.fd.set_clock(&data).map_err(|e| kvm_error("cannot set the clock of the VM", e))
    }
}

/// The host's real time, in nanoseconds since 1970.
pub(crate) fn real_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
