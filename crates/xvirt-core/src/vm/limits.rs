//! How fast the devices of a VM may be, changed at any time.

use super::Vm;
use super::attached::Kind;
use crate::Result;
use crate::config::NicLimit;

impl Vm {
    /// Limits what the network interface at `position` receives and sends, from now on, across reboots and starts. No
    /// frame is dropped for it: what the guest sends waits in its queue, what it is to receive waits with the sender.
    /// [`nics`](Self::nics) tells the limits in force.
    ///
    /// # Errors
    /// The limit makes no sense, or there is no interface at that position.
    pub fn set_nic_limit(&self, position: usize, limit: NicLimit) -> Result<()> {
        limit.check()?;
        let power = &mut *self.inner.lock();
        let attached = power.attached.nics.get_mut(&position).ok_or_else(|| self.no_such(Kind::Nic, position))?;
        attached.device.limit = limit;
        if let Some(nic) = power.running.as_ref().and_then(|running| running.nics.get(&position)) {
            nic.net.set_limit(limit);
            // What waits may go now.
            nic.function.kick();
        }
        Ok(())
    }
}
