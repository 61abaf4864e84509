//! Plugs and unplugs disks and network interfaces, while the VM runs or not: XenServer's `VBD.plug` and `VIF.unplug`.
//!
//! A running guest is notified through ACPI (see [`device::hotplug`](crate::device::hotplug)). The guest must eject a
//! device before it can be removed, so unplugging waits for that. It does not hold the VM's lock meanwhile, so other
//! verbs may run in between. A reset or the end of the run also ends the guest's use of the device, and so counts as an
//! ejection.

use std::sync::Arc;
use std::time::Duration;

use super::assemble::{self, DiskDevice, NicDevice};
use super::descriptors;
use super::devices::Kind;
use super::events::Event;
use super::handle::{Inner, Vm};
use super::state::Verb;
use crate::config::{Disk, Nic};
use crate::machine::Machine;
use crate::net::MacAddress;
use crate::wait::{Ended, Wait};
use crate::{Error, ErrorKind, Result};

/// How often a request is repeated to a guest that did not notice it, for example because it was booting.
const REMINDER: Duration = Duration::from_secs(1);

impl Vm {
    /// Plugs in a disk and returns its position: the lowest free one.
    ///
    /// The guest of a running VM detects it without further action. It stays across reboots and starts until it is
    /// unplugged. For a halted VM, the disk is there from the next start, which is also when its image is opened.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the disk's configuration is invalid, the VM already has the same
    /// image, or the VM has the maximum number of devices. While the VM runs or is paused, also any error of opening
    /// the disk. On error, the VM is unchanged.
    pub fn plug_disk(&self, disk: Disk) -> Result<usize> {
        let _span = self.inner.enter_span();
        disk.check()?;
        let _turn = self.begin(Verb::Plug)?;
        let (position, slot) = {
            let devices = &self.inner.live().devices;
            devices.disks.values().try_for_each(|other| disk.check_beside(&other.config))?;
            devices.place(Kind::Disk)?
        };
        let machine = self.inner.machine();
        let plugged = machine.map(|machine| self.plug_disk_now(&machine, position, slot, &disk)).transpose();
        let device = plugged.map_err(|error| {
            let needed = descriptors::of_disk(&disk);
            descriptors::explain(error, &format!("plugging disk {} in", disk.name()), needed)
        })?;
        self.inner.live().devices.attach_disk(position, slot, disk, device);
        self.inner.events.send(&Event::DiskPlugged { disk: position });
        Ok(position)
    }

    /// Plugs in a network interface and returns its position, as [`plug_disk`](Self::plug_disk) does.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the interface's configuration is invalid, or the VM has the
    /// maximum number of devices. While the VM runs or is paused, also any error of opening its backend. On error, the
    /// VM is unchanged.
    pub fn plug_nic(&self, mut nic: Nic) -> Result<usize> {
        let _span = self.inner.enter_span();
        nic.check()?;
        nic.mac.get_or_insert_with(MacAddress::random);
        let _turn = self.begin(Verb::Plug)?;
        let (position, slot) = self.inner.live().devices.place(Kind::Nic)?;
        let machine = self.inner.machine();
        let plugged = machine.map(|machine| self.plug_nic_now(&machine, position, slot, &nic)).transpose();
        let device = plugged.map_err(|error| {
            descriptors::explain(error, "plugging a network interface in", descriptors::of_nic(&nic))
        })?;
        self.inner.live().devices.attach_nic(position, slot, nic, device);
        self.inner.events.send(&Event::NicPlugged { nic: position });
        Ok(position)
    }

    fn plug_disk_now(&self, machine: &Machine, position: usize, slot: usize, disk: &Disk) -> Result<DiskDevice> {
        let backend = assemble::open_disk(disk, disk.access())?;
        let block = assemble::block(position, disk, &backend, None, self.inner.config.cpus.count, &self.inner.events)?;
        let block = Arc::new(block);
        let function = machine.plug(slot, Arc::clone(&block) as _)?;
        Ok(DiskDevice::new(position, block, function, backend, &self.inner.events))
    }

    fn plug_nic_now(&self, machine: &Machine, position: usize, slot: usize, nic: &Nic) -> Result<NicDevice> {
        let opened = assemble::open_nic(nic, |_| Ok(None))?;
        let function = machine.plug(slot, Arc::clone(&opened.net) as _)?;
        Ok(NicDevice::new(position, opened, function, &self.inner.events))
    }

    /// Unplugs the disk at `position`: asks the guest to eject it, and waits for that at most `timeout`. Afterwards,
    /// its image is unlocked and its position is free; other disks keep their positions.
    ///
    /// A reset or the end of the guest meanwhile also ejects it, and a halted VM needs no request. A paused VM responds
    /// once it is unpaused. The guest may also eject a disk on its own, which is reported by an event.
    ///
    /// Nothing prevents a guest from ejecting a disk that it uses or boots from.
    ///
    /// # Errors
    /// There is no such disk ([`NotFound`](ErrorKind::NotFound)); the VM was migrated with it while this waited
    /// ([`InvalidState`](ErrorKind::InvalidState)); or the guest did not eject it in time
    /// ([`Timeout`](ErrorKind::Timeout)): then the VM keeps it. If the guest ejects it later, it is unplugged then,
    /// which is reported by an event.
    pub fn unplug_disk(&self, position: usize, timeout: Duration) -> Result<()> {
        self.unplug(Kind::Disk, position, timeout)
    }

    /// Unplugs the network interface at `position`, as [`unplug_disk`](Self::unplug_disk) does for a disk. A tap
    /// interface that was created for it is removed.
    ///
    /// # Errors
    /// As [`unplug_disk`](Self::unplug_disk).
    pub fn unplug_nic(&self, position: usize, timeout: Duration) -> Result<()> {
        self.unplug(Kind::Nic, position, timeout)
    }

    /// The positions of the disks, whether the VM runs or not: those of the views that
    /// [`snapshot_views`](Self::snapshot_views) returns.
    pub fn disk_positions(&self) -> Vec<usize> {
        self.live().map_or_else(|_| Vec::new(), |live| live.devices.disks.keys().copied().collect())
    }

    /// The positions at which there are network interfaces, running or not.
    pub fn nic_positions(&self) -> Vec<usize> {
        self.live().map_or_else(|_| Vec::new(), |live| live.devices.nics.keys().copied().collect())
    }

    fn unplug(&self, kind: Kind, position: usize, timeout: Duration) -> Result<()> {
        let inner = &*self.inner;
        let (mut power, _listed) = self.begin(Verb::Unplug)?;
        let wait = Wait::at_most(timeout);
        let id = {
            let mut live = inner.live();
            let (_, removal) = live.devices.get(kind, position).ok_or_else(|| self.no_such(kind, position))?;
            removal.waiting += 1;
            removal.id
        };
        // The guest that was asked, identified by the run and its number of reboots.
        let mut asked = None;
        let mut reminder = wait.within(REMINDER);
        loop {
            let Some(slot) = inner.live().devices.slot_of(kind, position, id) else { return Ok(()) };
            let Some(machine) = inner.machine() else {
                if inner.live().was_migrated() {
                    inner.stop_waiting(kind, position);
                    return Err(self.was_migrated(Verb::Unplug));
                }
                inner.detach(kind, position);
                return Ok(());
            };
            let guest = (power.run, power.reboots);
            if asked.replace(guest) != Some(guest) {
                machine.request_removal(slot);
            } else if reminder.is_over() {
                machine.remind();
                reminder = wait.within(REMINDER);
            }
            // Another verb may halt the VM while we wait, and must then drop the last reference to the machine.
            drop(machine);
            let (next, waited) = reminder.changed(&inner.changed, &inner.power, power);
            power = next;
            match waited {
                Err(Ended::TooLate) if !wait.is_over() => {}
                Err(ended) => {
                    inner.stop_waiting(kind, position);
                    return Err(self.not_let_go(kind, position, timeout, ended));
                }
                Ok(()) => {}
            }
        }
    }

    pub(super) fn no_such(&self, kind: Kind, position: usize) -> Error {
        let what = match kind {
            Kind::Disk => "disk",
            Kind::Nic => "NIC",
        };
        Error::new(ErrorKind::NotFound, format!("VM '{}' has no {what} at position {position}", self.name()))
            .with_remedy("give the position that plugging gave, or that of the configuration, from 0")
    }

    fn not_let_go(&self, kind: Kind, position: usize, timeout: Duration, ended: Ended) -> Error {
        let what = match kind {
            Kind::Disk => "eject disk",
            Kind::Nic => "eject NIC",
        };
        ended.error(format_args!("VM '{}' to {what} {position}", self.name()), || {
            self.too_late(&format!("{what} {position}"), timeout).with_remedy(
                "stop what uses it in the guest and try again; a guest without ACPI hot plug has to be shut down",
            )
        })
    }
}

impl Inner {
    /// Decrements the number of callers that wait for the removal of a device; the last one withdraws the request.
    fn stop_waiting(&self, kind: Kind, position: usize) {
        let mut live = self.live();
        let Some((slot, removal)) = live.devices.get(kind, position) else { return };
        removal.waiting = removal.waiting.saturating_sub(1);
        if removal.waiting == 0
            && let Some(running) = &live.running
        {
            running.machine.withdraw_request(slot);
        }
    }

    /// Detaches the devices that the guest has ejected.
    pub(super) fn take_ejected(&self) {
        let Some(machine) = self.machine() else { return };
        machine.take_ejected().into_iter().for_each(|slot| self.detach_slot(slot));
    }

    /// Removes from a parked machine without a guest the devices whose removal is awaited, and those the guest had
    /// ejected.
    pub(super) fn take_wanted_out(&self, machine: &Machine) {
        self.take_ejected();
        let wanted = self.live().devices.wanted_out();
        for slot in wanted {
            machine.unplug(slot);
            self.detach_slot(slot);
        }
    }

    fn detach_slot(&self, slot: usize) {
        let found = self.live().devices.in_slot(slot);
        if let Some((kind, position)) = found {
            self.detach(kind, position);
        }
    }

    /// Removes a device that is in no machine from the VM, and notifies listeners and waiting verbs.
    fn detach(&self, kind: Kind, position: usize) {
        let detached = self.live().devices.detach(kind, position);
        // Closing an image may take a while, so `live` is not locked here.
        drop(detached);
        self.events.send(&match kind {
            Kind::Disk => Event::DiskUnplugged { disk: position },
            Kind::Nic => Event::NicUnplugged { nic: position },
        });
        self.changed.notify_all();
    }
}
