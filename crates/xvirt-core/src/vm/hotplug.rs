//! Disks and network interfaces that come and go, while the VM runs or not: XenServer's `VBD.plug` and `VIF.unplug`.
//!
//! A running guest hears of both by ACPI (see [`device::hotplug`](crate::device::hotplug)). It has to let go of a device
//! before the device is taken away, so unplugging waits for that; it does not hold the VM's lock meanwhile, and any verb
//! may come between. Whatever ends the guest ends its use of the device too: a reset or the end of a run is taken for its
//! answer.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::assemble::{self, DiskDevice, NicDevice};
use super::descriptors;
use super::devices::Kind;
use super::events::Event;
use super::handle::{Inner, Vm};
use super::state::Verb;
use crate::config::{Disk, Nic};
use crate::machine::Machine;
use crate::net::MacAddress;
use crate::{Error, ErrorKind, Result};

/// How often a request is repeated to a guest that has not noticed it, such as one that was just booting.
const REMINDER: Duration = Duration::from_secs(1);

impl Vm {
    /// Plugs a disk in and returns its position: the lowest free one.
    ///
    /// The guest of a running VM sees it without being told anything else. It stays across reboots and starts, until it
    /// is unplugged. A halted VM has it at the next start; only then is its image opened.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the disk's configuration is invalid, the VM has its image already, or the
    /// VM has as many devices as it can have. While the VM runs or is paused, also any error of opening the disk. Then the
    /// VM is as before.
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
            let needed = descriptors::of_disk(&disk, self.inner.config.cpus.count);
            descriptors::explain(error, &format!("plugging disk {} in", disk.name()), needed)
        })?;
        self.inner.live().devices.attach_disk(position, slot, disk, device);
        self.inner.events.send(&Event::DiskPlugged { disk: position });
        Ok(position)
    }

    /// Plugs a network interface in and returns its position, as [`plug_disk`](Self::plug_disk) does.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the interface's configuration is invalid, or the VM has as many devices
    /// as it can have. While the VM runs or is paused, also any error of opening its backend. Then the VM is as before.
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
        let function = machine.plug(slot, Arc::clone(&block) as _)?;
        Ok(DiskDevice::new(position, block, function, backend, &self.inner.events))
    }

    fn plug_nic_now(&self, machine: &Machine, position: usize, slot: usize, nic: &Nic) -> Result<NicDevice> {
        let opened = assemble::open_nic(nic, None)?;
        let function = machine.plug(slot, Arc::clone(&opened.net) as _)?;
        Ok(NicDevice::new(position, opened, function, &self.inner.events))
    }

    /// Unplugs the disk at `position`: asks the guest to let go of it, and waits until it has, at most `timeout`. Then
    /// its image is not locked any more, and its position is free; other disks keep theirs.
    ///
    /// A guest that resets or ends meanwhile has let go of it, and a halted VM has nothing to be asked. A paused one
    /// answers once it goes on. The guest may also let go of a disk by itself, which an event tells.
    ///
    /// Nothing keeps a guest from letting go of a disk that it uses, or boots from.
    ///
    /// # Errors
    /// There is no such disk ([`NotFound`](ErrorKind::NotFound)), or the guest has not let go of it in time
    /// ([`Timeout`](ErrorKind::Timeout)): then the VM goes on with it. If the guest lets go of it later, it is unplugged
    /// all the same, which an event tells.
    pub fn unplug_disk(&self, position: usize, timeout: Duration) -> Result<()> {
        self.unplug(Kind::Disk, position, timeout)
    }

    /// Unplugs the network interface at `position`, as [`unplug_disk`](Self::unplug_disk) does a disk. A tap interface
    /// that was made for it is gone then.
    ///
    /// # Errors
    /// As [`unplug_disk`](Self::unplug_disk).
    pub fn unplug_nic(&self, position: usize, timeout: Duration) -> Result<()> {
        self.unplug(Kind::Nic, position, timeout)
    }

    /// The positions at which there are disks, running or not: those of the views that
    /// [`snapshot_views`](Self::snapshot_views) gives.
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
        let began = Instant::now();
        let id = {
            let mut live = inner.live();
            let (_, removal) = live.devices.get(kind, position).ok_or_else(|| self.no_such(kind, position))?;
            removal.waiting += 1;
            removal.id
        };
        // Which guest was asked: that of this run, up to its next reboot.
        let mut asked = None;
        loop {
            let Some(slot) = inner.live().devices.slot_of(kind, position, id) else { return Ok(()) };
            let Some(machine) = inner.machine() else {
                inner.detach(kind, position);
                return Ok(());
            };
            let guest = (power.run, power.reboots);
            if asked.replace(guest) == Some(guest) {
                machine.remind();
            } else {
                machine.request_removal(slot);
            }
            // Another verb may end it meanwhile, which has to be the last to have it.
            drop(machine);
            let left = timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                inner.stop_waiting(kind, position);
                return Err(self.not_let_go(kind, position, timeout));
            }
            let waited = inner.changed.wait_timeout(power, left.min(REMINDER));
            power = waited.unwrap_or_else(PoisonError::into_inner).0;
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

    fn not_let_go(&self, kind: Kind, position: usize, timeout: Duration) -> Error {
        let what = match kind {
            Kind::Disk => "let go of disk",
            Kind::Nic => "let go of NIC",
        };
        self.too_late(&format!("{what} {position}"), timeout).with_remedy(
            "stop what uses it in the guest and try again; a guest without ACPI hot plug has to be shut down",
        )
    }
}

impl Inner {
    /// One less waits for the removal of a device; if nobody does, the guest is not asked any more.
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

    /// Gives back what the guest has let go of.
    pub(super) fn take_ejected(&self) {
        let Some(machine) = self.machine() else { return };
        machine.take_ejected().into_iter().for_each(|slot| self.detach_slot(slot));
    }

    /// Takes away, of a machine that is parked and has no guest any more, what somebody waits for, and what the guest
    /// had let go of.
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

    /// Forgets a device that is in no machine any more, and tells everybody.
    fn detach(&self, kind: Kind, position: usize) {
        let detached = self.live().devices.detach(kind, position);
        // Closing an image may take its time.
        drop(detached);
        self.events.send(&match kind {
            Kind::Disk => Event::DiskUnplugged { disk: position },
            Kind::Nic => Event::NicUnplugged { nic: position },
        });
        self.changed.notify_all();
    }
}
