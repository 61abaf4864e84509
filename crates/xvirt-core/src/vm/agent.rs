//! The guest agent of a VM.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::{Inner, Vm};
use crate::ErrorKind;
use crate::agent::GuestAgent;
use crate::wait::Ended;

/// The longest time that a shutdown waits for the agent before it presses the power button.
const AGENT_FIRST: Duration = Duration::from_secs(10);

impl Vm {
    /// The QEMU guest agent in the guest: runs commands there, reads and writes files, asks for addresses, and more.
    ///
    /// Every VM has the port for it; the guest needs the program `qemu-ga`, which distributions ship in the package
    /// `qemu-guest-agent`. The handle is cheap, does not keep the VM alive, and may be used from any thread. Its calls
    /// do not delay verbs.
    ///
    /// ```no_run
    /// # fn example(vm: &xvirt_core::vm::Vm) -> xvirt_core::Result<()> {
    /// use std::time::Duration;
    /// use xvirt_core::agent::GuestCommand;
    ///
    /// let agent = vm.agent();
    /// agent.wait_ready(Duration::from_secs(120))?; // while the guest boots
    /// let output = agent.run(&GuestCommand::shell("systemctl is-system-running --wait"))?;
    /// println!("{}", output.stdout_lossy());
    /// # Ok(())
    /// # }
    /// ```
    pub fn agent(&self) -> GuestAgent {
        GuestAgent::new(Arc::clone(&self.inner.agent))
    }
}

impl Inner {
    /// Asks the guest agent, if there is one, to shut down the guest, and waits until it does: at most a quarter of
    /// `timeout`.
    ///
    /// # Errors
    /// The caller has cancelled the wait. Any other failure leaves the rest to the power button.
    pub(super) fn shut_down_by_agent(&self, timeout: Duration) -> Result<(), Ended> {
        let agent = GuestAgent::new(Arc::clone(&self.agent));
        if !agent.is_present() {
            return Ok(());
        }
        let limit = (timeout / 4).min(AGENT_FIRST);
        match agent.shutdown_until(Instant::now().checked_add(limit)) {
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(Ended::Cancelled),
            Err(error) => {
                tracing::debug!(%error, "the guest agent does not shut the guest down, so the power button has to");
            }
            Ok(()) => {}
        }
        Ok(())
    }
}

#[cfg(feature = "demo")]
#[cfg(test)]
mod tests;
