//! The disks and network interfaces of a VM, running or not: each has a position and a PCI slot.
//!
//! Users refer to a device by its position; disks and network interfaces are each numbered from 0. The position stays
//! until the device is unplugged. So does the slot, from which a guest derives the names of its network interfaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::assemble::{DiskDevice, NicDevice};
use crate::config::{Boot, Disk, MAX_DEVICES, Nic, VmConfig};
use crate::disk::{CopyBeforeWrite, PreviousDisk};
use crate::{Error, ErrorKind, Result};

/// The two kinds of device that can be plugged and unplugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Disk,
    Nic,
}

/// A disk of a VM.
#[derive(Clone, Debug)]
pub(super) struct DiskSlot {
    pub(super) config: Disk,
    pub(super) slot: usize,
    removal: Removal,
    /// The device in the machine, while there is one.
    pub(super) device: Option<DiskDevice>,
    /// The backend of this run or the previous one, which views may keep open.
    previous: Option<PreviousDisk>,
}

/// A network interface of a VM.
#[derive(Clone, Debug)]
pub(super) struct NicSlot {
    pub(super) config: Nic,
    pub(super) slot: usize,
    removal: Removal,
    /// The device in the machine, while there is one.
    pub(super) device: Option<NicDevice>,
}

/// The pending requests to remove a device.
#[derive(Clone, Debug)]
pub(super) struct Removal {
    /// Distinguishes the device from others that have its position later.
    pub(super) id: u64,
    /// The number of callers that wait for the removal.
    pub(super) waiting: u32,
}

/// All disks and network interfaces of a VM.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices {
    pub(super) disks: BTreeMap<usize, DiskSlot>,
    pub(super) nics: BTreeMap<usize, NicSlot>,
    /// The number of devices that were ever attached, from which ids are made.
    ids: u64,
}

/// A removed device. Dropping it closes what it had open on the host.
#[derive(Debug)]
#[expect(dead_code, reason = "it is kept to be dropped where waiting is allowed")]
pub(super) enum Detached {
    Disk(DiskSlot),
    Nic(NicSlot),
}

/// The place of a device: its position among those of its kind, and its PCI slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) position: usize,
    pub(super) slot: usize,
}

impl DiskSlot {
    /// Its backend: that in the machine, or that of the previous run while a view still keeps it open and locked.
    pub(super) fn open(&self) -> Option<Arc<CopyBeforeWrite>> {
        self.backend().or_else(|| self.previous.as_ref().and_then(PreviousDisk::get))
    }

    /// Its backend, while it is in a machine.
    pub(super) fn backend(&self) -> Option<Arc<CopyBeforeWrite>> {
        self.device.as_ref().map(|device| Arc::clone(&device.backend))
    }

    pub(super) fn set_device(&mut self, device: DiskDevice) {
        self.previous = Some(device.backend.previous());
        self.device = Some(device);
    }
}

impl Devices {
    /// The devices of a configuration: positions and slots in order, disks first.
    pub(super) fn new(disks: Vec<Disk>, nics: Vec<Nic>) -> Result<Self> {
        let mut all = Self::default();
        for disk in disks {
            let (position, slot) = all.place(Kind::Disk)?;
            all.attach_disk(position, slot, disk, None);
        }
        for nic in nics {
            let (position, slot) = all.place(Kind::Nic)?;
            all.attach_nic(position, slot, nic, None);
        }
        Ok(all)
    }

    /// The devices of a configuration, at given places.
    pub(super) fn at<'a>(
        disks: impl Iterator<Item = (Disk, &'a Place)>,
        nics: impl Iterator<Item = (Nic, &'a Place)>,
    ) -> Self {
        let mut all = Self::default();
        disks.for_each(|(disk, place)| all.attach_disk(place.position, place.slot, disk, None));
        nics.for_each(|(nic, place)| all.attach_nic(place.position, place.slot, nic, None));
        all
    }

    /// The places of all disks and of all network interfaces.
    pub(super) fn places(&self) -> (Vec<Place>, Vec<Place>) {
        let disks = self.disks.iter().map(|(position, disk)| Place { position: *position, slot: disk.slot });
        let nics = self.nics.iter().map(|(position, nic)| Place { position: *position, slot: nic.slot });
        (disks.collect(), nics.collect())
    }

    /// The lowest free position of a kind, and the lowest free slot.
    pub(super) fn place(&self, kind: Kind) -> Result<(usize, usize)> {
        let taken = |position: &usize| match kind {
            Kind::Disk => self.disks.contains_key(position),
            Kind::Nic => self.nics.contains_key(position),
        };
        let position = (0..MAX_DEVICES).find(|position| !taken(position));
        let slot = (1..=MAX_DEVICES).find(|slot| self.in_slot(*slot).is_none());
        position.zip(slot).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidConfig,
                format!("the VM has {MAX_DEVICES} disks and network interfaces already"),
            )
            .with_remedy("unplug one that is not needed")
        })
    }

    pub(super) fn attach_disk(&mut self, position: usize, slot: usize, config: Disk, device: Option<DiskDevice>) {
        let mut disk = DiskSlot { config, slot, removal: self.nobody(), device: None, previous: None };
        if let Some(device) = device {
            disk.set_device(device);
        }
        self.disks.insert(position, disk);
    }

    pub(super) fn attach_nic(&mut self, position: usize, slot: usize, config: Nic, device: Option<NicDevice>) {
        let removal = self.nobody();
        self.nics.insert(position, NicSlot { config, slot, removal, device });
    }

    fn nobody(&mut self) -> Removal {
        self.ids += 1;
        Removal { id: self.ids, waiting: 0 }
    }

    /// Removes a device and returns it.
    pub(super) fn detach(&mut self, kind: Kind, position: usize) -> Option<Detached> {
        match kind {
            Kind::Disk => self.disks.remove(&position).map(Detached::Disk),
            Kind::Nic => self.nics.remove(&position).map(Detached::Nic),
        }
    }

    /// Records the devices that are in the machine, by position.
    pub(super) fn enter_machine(&mut self, disks: BTreeMap<usize, DiskDevice>, nics: BTreeMap<usize, NicDevice>) {
        for (position, device) in disks {
            if let Some(disk) = self.disks.get_mut(&position) {
                disk.set_device(device);
            }
        }
        for (position, device) in nics {
            if let Some(nic) = self.nics.get_mut(&position) {
                nic.device = Some(device);
            }
        }
    }

    /// Takes all devices out of the machine, which is about to end.
    pub(super) fn leave_machine(&mut self) -> (Vec<DiskDevice>, Vec<NicDevice>) {
        let disks = self.disks.values_mut().filter_map(|disk| disk.device.take()).collect();
        (disks, self.nics.values_mut().filter_map(|nic| nic.device.take()).collect())
    }

    /// The slot of the device at a position, and its pending removal.
    pub(super) fn get(&mut self, kind: Kind, position: usize) -> Option<(usize, &mut Removal)> {
        match kind {
            Kind::Disk => self.disks.get_mut(&position).map(|disk| (disk.slot, &mut disk.removal)),
            Kind::Nic => self.nics.get_mut(&position).map(|nic| (nic.slot, &mut nic.removal)),
        }
    }

    /// The device in a slot.
    pub(super) fn in_slot(&self, slot: usize) -> Option<(Kind, usize)> {
        self.all().find(|(_, _, taken, _)| *taken == slot).map(|(kind, position, ..)| (kind, position))
    }

    /// The slots of the devices whose removal is awaited.
    pub(super) fn wanted_out(&self) -> Vec<usize> {
        self.all().filter(|(.., waiting)| *waiting > 0).map(|(_, _, slot, _)| slot).collect()
    }

    /// Kind, position and slot of every device, and the number of callers that wait for its removal.
    fn all(&self) -> impl Iterator<Item = (Kind, usize, usize, u32)> {
        let disks = self.disks.iter().map(|(at, disk)| (Kind::Disk, *at, disk.slot, disk.removal.waiting));
        disks.chain(self.nics.iter().map(|(at, nic)| (Kind::Nic, *at, nic.slot, nic.removal.waiting)))
    }

    /// The slot of the device with that id, if it is still attached.
    pub(super) fn slot_of(&mut self, kind: Kind, position: usize, id: u64) -> Option<usize> {
        self.get(kind, position).filter(|(_, removal)| removal.id == id).map(|(slot, _)| slot)
    }

    /// The configuration with `base` and these devices, without gaps between positions.
    pub(super) fn in_config(&self, base: &VmConfig) -> VmConfig {
        let mut config = base.clone();
        config.disks = self.disks.values().map(|disk| disk.config.clone()).collect();
        config.nics = self.nics.values().map(|nic| nic.config.clone()).collect();
        if let Boot::Disk { disk, .. } = &mut config.boot {
            // A boot disk that does not exist must not become one that does.
            let there = self.disks.contains_key(disk);
            *disk = if there { self.disks.range(..*disk).count() } else { self.disks.len() };
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(disks: usize, nics: usize) -> Devices {
        let disks = (0..disks).map(|n| Disk::raw(format!("{n}"))).collect();
        Devices::new(disks, (0..nics).map(|n| Nic::tap(format!("t{n}"))).collect()).unwrap()
    }

    #[test]
    fn the_lowest_free_places_are_taken_and_others_stay() {
        let mut all = devices(3, 1);
        assert_eq!(all.in_slot(4), Some((Kind::Nic, 0)));
        all.detach(Kind::Disk, 1).unwrap();
        assert_eq!((all.get(Kind::Disk, 2).unwrap().0, all.get(Kind::Nic, 0).unwrap().0), (3, 4));
        assert_eq!((all.place(Kind::Disk).unwrap(), all.place(Kind::Nic).unwrap()), ((1, 2), (1, 2)));
        all.attach_nic(1, 2, Nic::new_tap(), None);
        assert_eq!(all.place(Kind::Disk).unwrap(), (1, 5));
    }

    #[test]
    fn a_full_vm_takes_nothing_more() {
        let all = devices(MAX_DEVICES - 1, 1);
        for kind in [Kind::Disk, Kind::Nic] {
            let error = all.place(kind).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.remedy().is_some());
        }
    }

    #[test]
    fn the_configuration_has_no_gaps_and_boots_from_the_same_disk() {
        let mut all = devices(3, 0);
        all.detach(Kind::Disk, 1).unwrap();
        let base =
            |disk| VmConfig::new("a").boot(Boot::Disk { disk, entry: Default::default(), append: String::new() });
        for (position, index) in [(0, 0), (2, 1), (1, 2)] {
            let config = all.in_config(&base(position));
            let names: Vec<_> = config.disks.iter().map(Disk::name).collect();
            assert_eq!(names, ["0", "2"]);
            assert!(matches!(config.boot, Boot::Disk { disk, .. } if disk == index), "{:?}", config.boot);
        }
    }

    #[test]
    fn a_device_that_takes_the_place_of_another_is_another() {
        let mut all = devices(1, 0);
        let first = all.get(Kind::Disk, 0).unwrap().1.id;
        all.detach(Kind::Disk, 0).unwrap();
        all.attach_disk(0, 1, Disk::raw("x"), None);
        let (_, removal) = all.get(Kind::Disk, 0).unwrap();
        assert_ne!(removal.id, first);
        removal.waiting = 1;
        assert_eq!(all.wanted_out(), [1]);
    }
}
