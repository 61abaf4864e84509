//! Disks and network interfaces that come and go, while the VM runs or not: XenServer's `VBD.plug` and `VIF.unplug`.
//!
//! A running guest hears of both by ACPI (see [`device::hotplug`](crate::device::hotplug)). It has to let go of a device
//! before the device is taken away, so unplugging waits for that; it does not hold the VM's lock meanwhile, and any verb
//! may come between. Whatever ends the guest ends its use of the device too: a reset or the end of a run is taken for its
//! answer.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::assemble::{self, DiskDevice, NicDevice};
use super::attached::Kind;
use super::descriptors;
use super::events::Event;
use super::handle::{Inner, Power, Running, Vm};
use super::state::{PowerState, Verb};
use crate::config::{Disk, Nic};
use crate::net::MacAddress;
use crate::virtio::VirtioPci;
use crate::{Error, ErrorKind, Result};

/// How often a guest is told again that has not heard of a request, as one that was just starting.
const REMINDER: Duration = Duration::from_secs(1);

impl Vm {
    /// Plugs a disk in, and gives the position it has from now on: the lowest free one.
    ///
    /// The guest of a running VM sees it without being told anything else. It stays across reboots and starts, until it
    /// is unplugged. A halted VM has it at the next start; only then is its image opened.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the disk makes no sense, or the VM has as many devices as it can
    /// have. While the VM runs or is paused, also whatever opening the disk fails with. Then all is as before.
    pub fn plug_disk(&self, disk: Disk) -> Result<usize> {
        let _span = self.inner.span.enter();
        disk.check()?;
        let power = &mut *self.lock()?;
        Verb::Plug.check(self.name(), power.state)?;
        let (position, slot) = power.attached.place(Kind::Disk)?;
        if power.running.is_some() {
            self.plug_disk_now(power, position, slot, &disk).map_err(|error| {
                let needed = descriptors::of_disk(&disk, self.inner.config.cpus.count);
                descriptors::explain(error, &format!("plugging disk {} in", disk.name()), needed)
            })?;
        }
        power.attached.attach_disk(position, slot, disk);
        self.inner.events.send(&Event::DiskPlugged { disk: position });
        Ok(position)
    }

    /// Plugs a network interface in, and gives the position it has from now on, as [`plug_disk`](Self::plug_disk) does.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the interface makes no sense, or the VM has as many devices as it can
    /// have. While the VM runs or is paused, also whatever opening what it is connected to fails with. Then all is as
    /// before.
    pub fn plug_nic(&self, mut nic: Nic) -> Result<usize> {
        let _span = self.inner.span.enter();
        nic.check()?;
        nic.mac.get_or_insert_with(MacAddress::random);
        let power = &mut *self.lock()?;
        Verb::Plug.check(self.name(), power.state)?;
        let (position, slot) = power.attached.place(Kind::Nic)?;
        if power.running.is_some() {
            self.plug_nic_now(power, position, slot, &nic).map_err(|error| {
                descriptors::explain(error, "plugging a network interface in", descriptors::of_nic(&nic))
            })?;
        }
        power.attached.attach_nic(position, slot, nic);
        self.inner.events.send(&Event::NicPlugged { nic: position });
        Ok(position)
    }

    fn plug_disk_now(&self, power: &mut Power, position: usize, slot: usize, disk: &Disk) -> Result<()> {
        let Some(running) = &mut power.running else { return Ok(()) };
        let backend = assemble::open_disk(disk, disk.read_only)?;
        let block = assemble::block(position, disk, &backend, self.inner.config.cpus.count, &self.inner.events)?;
        let function = running.machine.plug(slot, Arc::clone(&block) as _)?;
        pause_like_the_vm(power.state, &function);
        power.former.insert(position, backend.former());
        running.backends.insert(position, backend);
        running.disks.insert(position, DiskDevice::new(position, block, function, &self.inner.events));
        Ok(())
    }

    fn plug_nic_now(&self, power: &mut Power, position: usize, slot: usize, nic: &Nic) -> Result<()> {
        let Some(running) = &mut power.running else { return Ok(()) };
        let card = assemble::card(nic)?;
        let function = running.machine.plug(slot, Arc::clone(&card.net) as _)?;
        pause_like_the_vm(power.state, &function);
        running.nics.insert(position, NicDevice::new(position, card, function, &self.inner.events));
        Ok(())
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
    /// [`point_in_time`](Self::point_in_time) gives.
    pub fn disk_positions(&self) -> Vec<usize> {
        self.lock().map_or_else(|_| Vec::new(), |power| power.attached.disks.keys().copied().collect())
    }

    fn unplug(&self, kind: Kind, position: usize, timeout: Duration) -> Result<()> {
        let inner = &*self.inner;
        let began = Instant::now();
        let mut power = self.lock()?;
        Verb::Unplug.check(self.name(), power.state)?;
        let (_, removal) = power.attached.get(kind, position).ok_or_else(|| self.no_such(kind, position))?;
        removal.waiting += 1;
        let id = removal.id;
        // Which guest was asked: that of this run, up to its next reboot.
        let mut asked = None;
        while let Some(slot) = power.slot_of(kind, position, id) {
            let guest = (power.run, power.reboots);
            let Some(running) = &power.running else {
                inner.detach(&mut power, kind, position);
                return Ok(());
            };
            if asked.replace(guest) == Some(guest) {
                running.machine.remind();
            } else {
                running.machine.request_removal(slot);
            }
            let left = timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                power.stop_waiting(kind, position);
                return Err(self.not_let_go(kind, position, timeout));
            }
            let waited = inner.changed.wait_timeout(power, left.min(REMINDER));
            power = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    pub(super) fn no_such(&self, kind: Kind, position: usize) -> Error {
        let what = match kind {
            Kind::Disk => "disk",
            Kind::Nic => "NIC",
        };
        Error::new(ErrorKind::NotFound, format!("VM '{}' has no {what} at position {position}", self.name()))
            .remedy("give the position that plugging gave, or that of the configuration, from 0")
    }

    fn not_let_go(&self, kind: Kind, position: usize, timeout: Duration) -> Error {
        let what = match kind {
            Kind::Disk => "let go of disk",
            Kind::Nic => "let go of NIC",
        };
        self.too_late(&format!("{what} {position}"), timeout)
            .remedy("stop what uses it in the guest and try again; a guest without ACPI hot plug has to be shut down")
    }
}

impl Power {
    /// The slot of the device with that id, if it is still there.
    fn slot_of(&mut self, kind: Kind, position: usize, id: u64) -> Option<usize> {
        self.attached.get(kind, position).filter(|(_, removal)| removal.id == id).map(|(slot, _)| slot)
    }

    /// One less waits for the removal of a device; if nobody does, the guest is not asked any more.
    fn stop_waiting(&mut self, kind: Kind, position: usize) {
        let Some((slot, removal)) = self.attached.get(kind, position) else { return };
        removal.waiting = removal.waiting.saturating_sub(1);
        if removal.waiting == 0
            && let Some(running) = &self.running
        {
            running.machine.withdraw_request(slot);
        }
    }
}

impl Inner {
    /// Gives back what the guest has let go of.
    pub(super) fn take_ejected(&self, power: &mut Power) {
        let Some(running) = &mut power.running else { return };
        for slot in running.machine.take_ejected() {
            self.detach_slot(power, slot);
        }
    }

    /// Takes away, of a machine that is parked and has no guest any more, what somebody waits for, and what the guest
    /// had let go of.
    pub(super) fn take_wanted_out(&self, power: &mut Power) {
        self.take_ejected(power);
        for slot in power.attached.wanted_out() {
            if let Some(running) = &mut power.running {
                running.machine.unplug(slot);
            }
            self.detach_slot(power, slot);
        }
    }

    fn detach_slot(&self, power: &mut Power, slot: usize) {
        if let Some((kind, position)) = power.attached.in_slot(slot) {
            self.detach(power, kind, position);
        }
    }

    /// Forgets a device that is in no machine any more, and tells everybody.
    fn detach(&self, power: &mut Power, kind: Kind, position: usize) {
        power.attached.detach(kind, position);
        if let Some(Running { disks, nics, backends, .. }) = &mut power.running {
            match kind {
                Kind::Disk => drop((disks.remove(&position), backends.remove(&position))),
                Kind::Nic => drop(nics.remove(&position)),
            }
        }
        let event = match kind {
            Kind::Disk => {
                power.former.remove(&position);
                Event::DiskUnplugged { disk: position }
            }
            Kind::Nic => Event::NicUnplugged { nic: position },
        };
        self.events.send(&event);
        self.changed.notify_all();
    }
}

/// A device that comes while the VM is paused takes no requests either.
fn pause_like_the_vm(state: PowerState, function: &VirtioPci) {
    if state == PowerState::Paused {
        function.pause();
    }
}
