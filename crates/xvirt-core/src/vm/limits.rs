//! What a VM may take of the host: how fast its devices may be, and its vCPUs. Changed at any time.

use super::Vm;
use super::devices::Kind;
use super::live::Running;
use super::state::Verb;
use crate::Result;
use crate::cgroup::CpuGroup;
use crate::config::{CpuLimit, NicLimit, RateLimit, VmConfig};
use crate::machine::Machine;

impl Vm {
    /// Limits what the network interface at `position` receives and sends, from now on, across reboots and starts. No
    /// frame is dropped for it: what the guest sends waits in its queue, what it is to receive waits with the sender.
    /// [`nics`](Self::nics) tells the limits in force.
    ///
    /// # Errors
    /// The limit makes no sense, or there is no interface at that position.
    pub fn set_nic_limit(&self, position: usize, limit: NicLimit) -> Result<()> {
        limit.check()?;
        let _turn = self.begin(Verb::SetNicLimit)?;
        let mut live = self.inner.live();
        let nic = live.devices.nics.get_mut(&position).ok_or_else(|| self.no_such(Kind::Nic, position))?;
        nic.config.limit = limit;
        if let Some(nic) = &nic.device {
            nic.net.set_limit(limit);
            // What waits may go now.
            nic.function.kick();
        }
        Ok(())
    }

    /// Limits how fast the disk at `position` may be, from now on, across reboots and starts. What is over the limit waits
    /// in the guest's queue.
    ///
    /// # Errors
    /// The limit makes no sense, or there is no disk at that position.
    pub fn set_disk_limit(&self, position: usize, limit: RateLimit) -> Result<()> {
        let _turn = self.begin(Verb::SetDiskLimit)?;
        let mut live = self.inner.live();
        let disk = live.devices.disks.get_mut(&position).ok_or_else(|| self.no_such(Kind::Disk, position))?;
        limit.check(&format!("disk {}", disk.config.name()))?;
        disk.config.limit = limit;
        if let Some(disk) = &disk.device {
            disk.block.set_limit(limit);
            // What waits may go now.
            disk.function.kick();
        }
        Ok(())
    }

    /// How fast the disk at `position` may be: what is in force where the VM runs.
    ///
    /// # Errors
    /// There is no disk at that position.
    pub fn disk_limit(&self, position: usize) -> Result<RateLimit> {
        let live = self.live()?;
        let disk = live.devices.disks.get(&position).ok_or_else(|| self.no_such(Kind::Disk, position))?;
        Ok(disk.device.as_ref().map_or(disk.config.limit, |device| device.block.limit()))
    }

    /// Limits the CPU time of all vCPUs together, from now on, across reboots and starts.
    ///
    /// The vCPU threads get a control group of their own below the group of this process. It is removed with the machine. A
    /// process that is killed, or ends without dropping its VMs, leaves it behind empty; the next process that limits a VM
    /// from the same group removes it.
    ///
    /// This needs the CPU controller, of version 2 of control groups or of version 1, and the right to create groups below
    /// this process's own. Root has that right, and so has a user to whom the group is delegated, as by systemd's
    /// `Delegate=cpu`. A process whose group of version 2 already has groups below it cannot set a limit.
    ///
    /// # Errors
    /// The limit makes no sense, or the host does not let this process set it, of which the message tells the remedy;
    /// then all is as before. A halted VM notices only when it starts.
    pub fn set_cpu_limit(&self, limit: CpuLimit) -> Result<()> {
        limit.check()?;
        let _turn = self.begin(Verb::SetCpuLimit)?;
        let live = &mut *self.inner.live();
        if let Some(Running { machine, cpu_group, .. }) = &mut live.running {
            match cpu_group {
                Some(group) => group.set(limit).inspect_err(|_| {
                    // Half of it may have been set. Nothing more can be done for a group that takes neither.
                    let _ = group.set(live.cpu_limit);
                })?,
                None => *cpu_group = make_cpu_group(&self.inner.config, limit, machine)?,
            }
        }
        live.cpu_limit = limit;
        Ok(())
    }

    /// What the vCPUs may take of the host's processors, as the kernel says while the VM runs.
    ///
    /// # Errors
    /// The VM's control group cannot be read.
    pub fn cpu_limit(&self) -> Result<CpuLimit> {
        let live = self.live()?;
        let group = live.running.as_ref().and_then(|running| running.cpu_group.as_ref());
        group.map_or(Ok(live.cpu_limit), CpuGroup::limit)
    }
}

/// The control group of a machine's vCPUs, if they are to be limited.
pub(super) fn make_cpu_group(config: &VmConfig, limit: CpuLimit, machine: &Machine) -> Result<Option<CpuGroup>> {
    if limit == CpuLimit::none() {
        return Ok(None);
    }
    let group = CpuGroup::new(&config.uuid.to_string(), limit)?;
    machine.keep_device_threads_out(group.outside());
    machine.vcpu_threads().try_for_each(|thread| group.add_thread(thread))?;
    Ok(Some(group))
}
