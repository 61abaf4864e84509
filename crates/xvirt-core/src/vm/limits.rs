//! Limits on the host resources that a VM uses: the rates of its devices and the CPU time of its vCPUs.

use super::Vm;
use super::devices::Kind;
use super::live::Running;
use super::state::Verb;
use crate::Result;
use crate::cgroup::CpuGroup;
use crate::config::{CpuLimit, NicLimit, RateLimit, VmConfig};
use crate::machine::Machine;

impl Vm {
    /// Limits the rates at which the network interface at `position` receives and sends. The limit applies immediately,
    /// and across reboots and starts. It causes no frame to be dropped: frames from the guest wait in its queue, frames
    /// to the guest wait at the sender. [`nics`](Self::nics) returns the limits in force.
    ///
    /// # Errors
    /// The limit is invalid, or there is no interface at that position.
    pub fn set_nic_limit(&self, position: usize, limit: NicLimit) -> Result<()> {
        limit.check()?;
        let _turn = self.begin(Verb::SetNicLimit)?;
        let mut live = self.inner.live();
        let nic = live.devices.nics.get_mut(&position).ok_or_else(|| self.no_such(Kind::Nic, position))?;
        nic.config.limit = limit;
        if let Some(nic) = &nic.device {
            nic.net.set_limit(limit);
            // Requests that waited for the old limit may proceed.
            nic.function.kick();
        }
        Ok(())
    }

    /// Limits the rate of the disk at `position`. The limit applies immediately, and across reboots and starts.
    /// Requests over the limit wait in the guest's queue.
    ///
    /// # Errors
    /// The limit is invalid, or there is no disk at that position.
    pub fn set_disk_limit(&self, position: usize, limit: RateLimit) -> Result<()> {
        let _turn = self.begin(Verb::SetDiskLimit)?;
        let mut live = self.inner.live();
        let disk = live.devices.disks.get_mut(&position).ok_or_else(|| self.no_such(Kind::Disk, position))?;
        limit.check(&format!("disk {}", disk.config.name()))?;
        disk.config.limit = limit;
        if let Some(disk) = &disk.device {
            disk.block.set_limit(limit);
            // Requests that waited for the old limit may proceed.
            disk.function.kick();
        }
        Ok(())
    }

    /// The rate limit of the disk at `position`: the one in force while the VM runs.
    ///
    /// # Errors
    /// There is no disk at that position.
    pub fn disk_limit(&self, position: usize) -> Result<RateLimit> {
        let live = self.live()?;
        let disk = live.devices.disks.get(&position).ok_or_else(|| self.no_such(Kind::Disk, position))?;
        Ok(disk.device.as_ref().map_or(disk.config.limit, |device| device.block.limit()))
    }

    /// Limits the CPU time of all vCPUs together. The limit applies immediately, and across reboots and starts.
    ///
    /// The vCPU threads get their own control group below the group of this process. It is removed with the machine. A
    /// process that is killed, or ends without dropping its VMs, leaves it behind empty; the next process that limits a
    /// VM from the same group removes it.
    ///
    /// This needs the CPU controller, of cgroup v2 or v1, and permission to create groups below this process's own.
    /// Root has that permission, and so does a user to whom the group is delegated, for example by systemd's
    /// `Delegate=cpu`. A process whose v2 group already has groups below it cannot set a limit.
    ///
    /// # Errors
    /// The limit is invalid, or the host does not let this process set it; the message states the remedy. On error,
    /// nothing is changed. For a halted VM, the host is asked only at the next start.
    pub fn set_cpu_limit(&self, limit: CpuLimit) -> Result<()> {
        limit.check()?;
        let _turn = self.begin(Verb::SetCpuLimit)?;
        let live = &mut *self.inner.live();
        if let Some(Running { machine, cpu_group, .. }) = &mut live.running {
            match cpu_group {
                Some(group) => group.set(limit).inspect_err(|_| {
                    // Part of the new limit may have been set. If restoring the old one fails too, nothing more can be
                    // done.
                    let _ = group.set(live.cpu_limit);
                })?,
                None => *cpu_group = make_cpu_group(&self.inner.config, limit, machine)?,
            }
        }
        live.cpu_limit = limit;
        Ok(())
    }

    /// The CPU limit of the vCPUs, as reported by the kernel while the VM runs.
    ///
    /// # Errors
    /// The VM's control group cannot be read.
    pub fn cpu_limit(&self) -> Result<CpuLimit> {
        let live = self.live()?;
        let group = live.running.as_ref().and_then(|running| running.cpu_group.as_ref());
        group.map_or(Ok(live.cpu_limit), CpuGroup::limit)
    }
}

/// The control group of a machine's vCPUs, if `limit` limits them.
pub(super) fn make_cpu_group(config: &VmConfig, limit: CpuLimit, machine: &Machine) -> Result<Option<CpuGroup>> {
    if limit == CpuLimit::none() {
        return Ok(None);
    }
    let group = CpuGroup::new(&config.uuid.to_string(), limit)?;
    machine.keep_device_threads_out(group.outside());
    machine.vcpu_threads().try_for_each(|thread| group.add_thread(thread))?;
    Ok(Some(group))
}
