//! Asking the guest to end.

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
    /// Asks the guest to shut down and switch itself off, and waits until it has begun, which is when its agent is gone.
    /// [`Vm::wait_halted`](crate::vm::Vm::wait_halted) waits for the rest.
    /// [`Vm::clean_shutdown`](crate::vm::Vm::clean_shutdown) does all that and presses the power button where it must.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout) if its agent is not gone in time; then it may still shut down. Otherwise those
    /// of [all calls](Self#errors).
    pub fn shutdown(&self) -> Result<()> {
        self.end_guest("powerdown", self.deadline())
    }

    /// Asks the guest to reboot, and waits until it has begun, which is when its agent is gone. The VM is reset then
    /// ([`Event::GuestReset`](crate::vm::Event::GuestReset)), and [`wait_ready`](Self::wait_ready) waits for its next boot.
    ///
    /// # Errors
    /// As [`shutdown`](Self::shutdown).
    pub fn reboot(&self) -> Result<()> {
        self.end_guest("reboot", self.deadline())
    }

    /// As [`shutdown`](Self::shutdown), within another time limit.
    pub(crate) fn shutdown_until(&self, deadline: Option<Instant>) -> Result<()> {
        self.end_guest("powerdown", deadline)
    }

    fn end_guest(&self, mode: &'static str, deadline: Option<Instant>) -> Result<()> {
        let call = Call { command: "guest-shutdown", limit: MAX_ANSWER, deadline };
        self.channel.call_to_end(call, Shutdown { mode })
    }
}
