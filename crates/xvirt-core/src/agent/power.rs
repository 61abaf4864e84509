//! Shuts down and reboots the guest.

use std::time::Instant;

use serde::Serialize;

use super::channel::{Call, MAX_ANSWER};
use super::handle::GuestAgent;
use crate::Result;

#[derive(Serialize)]
struct Shutdown {
    mode: &'static str,
}

impl GuestAgent {
    /// Asks the guest to shut down and power off, and waits until that has begun, which is when its agent is gone.
    /// [`Vm::wait_halted`](crate::vm::Vm::wait_halted) waits for the rest.
    /// [`Vm::clean_shutdown`](crate::vm::Vm::clean_shutdown) does all of this, and presses the power button if
    /// necessary.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout) if its agent is not gone in time; it may still shut down later. Otherwise
    /// those of [all calls](Self#errors).
    pub fn shutdown(&self) -> Result<()> {
        self.end_guest("powerdown", self.deadline())
    }

    /// Asks the guest to reboot, and waits until that has begun, which is when its agent is gone. The VM is reset later
    /// ([`Event::GuestReset`](crate::vm::Event::GuestReset)); [`wait_ready`](Self::wait_ready) waits for its next boot.
    ///
    /// # Errors
    /// As [`shutdown`](Self::shutdown).
    pub fn reboot(&self) -> Result<()> {
        self.end_guest("reboot", self.deadline())
    }

    /// As [`shutdown`](Self::shutdown), with a deadline.
    pub(crate) fn shutdown_until(&self, deadline: Option<Instant>) -> Result<()> {
        self.end_guest("powerdown", deadline)
    }

    fn end_guest(&self, mode: &'static str, deadline: Option<Instant>) -> Result<()> {
        let call = Call { command: "guest-shutdown", limit: MAX_ANSWER, deadline };
        self.channel.call_to_end(call, Shutdown { mode })
    }
}
