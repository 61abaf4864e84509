//! Gives the disks of a VM that is held stopped other images with the same contents.
//!
//! A disk of a running guest gets another image by the same path as a restore: the device is taken out of its slot with
//! its state, and a new device is constructed from that state and the new image. The guest notices nothing.

use std::sync::Arc;

use super::assemble::{self, DiskDevice};
use super::devices::DiskSlot;
use super::handle::Inner;
use super::stopped::Stopped;
use crate::config::{Disk, DiskSource};
use crate::disk::{BlockBackend, CopyBeforeWrite};
use crate::virtio::{BlockCounters, DeviceState, VirtioPciState};
use crate::{Error, ErrorKind, Result};

/// A change of images. It must end with [`keep`](Self::keep) or [`undo`](Self::undo).
#[derive(Debug)]
#[must_use = "the disks are out of the machine until it is kept or undone"]
pub(crate) struct ImageChange<'a, 'b> {
    stopped: &'a mut Stopped<'b>,
    taken_out: Vec<TakenOut>,
    changed: Vec<Changed>,
}

/// The new image of a disk.
#[derive(Debug)]
pub(crate) struct NewImage {
    /// The position of the disk.
    pub(crate) position: usize,
    /// Where the image will be.
    pub(crate) source: DiskSource,
    /// The image, opened with the access that the disk needs; `None` if the VM is in no machine.
    pub(crate) opened: Option<Arc<dyn BlockBackend>>,
}

/// A disk that was taken out of the machine.
#[derive(Clone, Debug)]
pub(super) struct TakenOut {
    position: usize,
    /// The disk as it was, without its device.
    disk: DiskSlot,
    state: VirtioPciState,
    counters: Arc<BlockCounters>,
}

/// A disk with its new image.
#[derive(Debug)]
struct Changed {
    position: usize,
    source: DiskSource,
    device: Option<DiskDevice>,
}

impl Inner {
    /// Fails if a disk is missing from the machine, because its image could not be opened again.
    pub(super) fn require_all_disks(&self) -> Result<()> {
        let live = self.live();
        live.require_decided(&self.config.name)?;
        let missing = live.devices.disks.iter().find(|(_, disk)| live.running.is_some() && disk.device.is_none());
        missing.map_or(Ok(()), |(position, _)| {
            let what = format!("disk {position} of VM '{}' could not be opened again", self.config.name);
            Err(Error::new(ErrorKind::InvalidState, what).with_remedy(
                "shut the VM down with hard_shutdown; everything that its guest had flushed is on its disks",
            ))
        })
    }
}

impl<'b> Stopped<'b> {
    /// Flushes and closes the images of the disks at these positions. If that fails, nothing has changed.
    pub(crate) fn close_images(&mut self, positions: &[usize]) -> Result<ImageChange<'_, 'b>> {
        self.vm.inner.flush_disks(|disk| disk.flush_to_close())?;
        let mut change = ImageChange { stopped: self, taken_out: Vec::new(), changed: Vec::new() };
        match positions.iter().try_for_each(|position| change.take_out(*position)) {
            Ok(()) => Ok(change),
            Err(error) => Err(change.undo(error)),
        }
    }

    /// Closes the images of all disks, whose disks are added to `left_out`, until [`put_back`](Self::put_back).
    ///
    /// # Errors
    /// Not all of them were closed; those that were are in `left_out`.
    pub(super) fn leave_out_images(&mut self, left_out: &mut Vec<TakenOut>) -> Result<()> {
        let positions = self.positions();
        let mut change = ImageChange { stopped: self, taken_out: Vec::new(), changed: Vec::new() };
        let closed = positions.into_iter().try_for_each(|position| change.take_out(position));
        left_out.append(&mut change.taken_out);
        closed
    }

    /// Opens the images of disks that were left out, and puts them in again.
    ///
    /// # Errors
    /// One of them cannot be opened. Then all are closed and unlocked, and this can be called again.
    pub(super) fn put_back(&mut self, taken_out: &[TakenOut]) -> Result<()> {
        let mut change = ImageChange { stopped: self, taken_out: Vec::new(), changed: Vec::new() };
        let Err(error) = taken_out.iter().try_for_each(|taken| change.put_back(taken)) else { return Ok(()) };
        for TakenOut { position, .. } in taken_out {
            if let Err(error) = change.take_out(*position) {
                tracing::warn!(%error, disk = position, "cannot close a disk again");
            }
        }
        Err(error)
    }
}

impl ImageChange<'_, '_> {
    fn take_out(&mut self, position: usize) -> Result<()> {
        let Some(machine) = &self.stopped.machine else { return Ok(()) };
        let (disk, device) = {
            let mut live = self.stopped.vm.inner.live();
            let Some(disk) = live.devices.disks.get_mut(&position) else { return Ok(()) };
            let Some(device) = disk.device.take() else { return Ok(()) };
            (disk.clone(), device)
        };
        match machine.take_out(disk.slot) {
            Ok(state) => {
                let counters = Arc::clone(device.block.counters());
                self.taken_out.push(TakenOut { position, disk, state, counters });
                Ok(())
            }
            Err(error) => {
                self.set_device(position, device);
                Err(error)
            }
        }
    }

    /// Puts the disk into the machine with its new image.
    pub(crate) fn open(&mut self, image: NewImage) -> Result<()> {
        let NewImage { position, source, opened } = image;
        let taken = self.taken_out.iter().find(|taken| taken.position == position);
        let device = match (taken, opened) {
            (Some(taken), Some(opened)) => {
                let config = Disk { source: source.clone(), ..taken.disk.config.clone() };
                Some(self.put_in(taken, &config, Arc::new(CopyBeforeWrite::new(opened)))?)
            }
            _ => None,
        };
        self.changed.push(Changed { position, source, device });
        Ok(())
    }

    /// Lets the VM go on with its new images.
    pub(crate) fn keep(self) {
        let disks = &mut self.stopped.vm.inner.live().devices.disks;
        for Changed { position, source, device } in self.changed {
            let Some(disk) = disks.get_mut(&position) else { continue };
            disk.config.source = source;
            if let Some(device) = device {
                disk.set_device(device);
            }
        }
    }

    /// Lets the VM go on with its old images, and returns the error to report. If an image cannot be opened again, the
    /// VM stays paused without that disk.
    pub(crate) fn undo(mut self, error: Error) -> Error {
        // Closes the new images.
        self.changed.clear();
        let Err(second) = self.put_all_back() else { return error };
        self.stopped.stay_paused();
        let what = format!("VM '{}' stays paused, because a disk cannot be opened again", self.stopped.vm.name());
        Error::new(second.kind(), what)
            .because(second.without_remedy())
            .with_remedy(format!("shut it down with hard_shutdown; the disk was closed when this failed: {error}"))
    }

    /// Puts every disk back that can be.
    fn put_all_back(&self) -> Result<()> {
        let mut failed: Vec<_> = self.taken_out.iter().filter_map(|taken| self.put_back(taken).err()).collect();
        failed.pop().map_or(Ok(()), Err)
    }

    /// Puts a disk in with the image that it had.
    fn put_back(&self, taken: &TakenOut) -> Result<()> {
        if let Some(machine) = self.stopped.machine.as_ref().filter(|machine| machine.has_function(taken.disk.slot)) {
            machine.take_out(taken.disk.slot)?;
        }
        let config = &taken.disk.config;
        let backend = taken.disk.open().map_or_else(|| assemble::open_disk(config, config.access()), Ok)?;
        let device = self.put_in(taken, config, backend)?;
        self.set_device(taken.position, device);
        Ok(())
    }

    fn put_in(&self, taken: &TakenOut, config: &Disk, backend: Arc<CopyBeforeWrite>) -> Result<DiskDevice> {
        let inner = &self.stopped.vm.inner;
        let TakenOut { position, disk, state, counters } = taken;
        let DeviceState::Block(saved) = &state.device else {
            let what = format!("the device in PCI slot {} is not a disk", disk.slot);
            return Err(Error::new(ErrorKind::InvalidState, what));
        };
        let (vcpus, events) = (inner.config.cpus.count, &inner.events);
        let block = assemble::block(*position, config, &backend, Some(saved.clone()), vcpus, events)?;
        let block = Arc::new(block.with_counters(counters));
        let function = inner.running_machine()?.insert(disk.slot, Arc::clone(&block) as _, Some(state))?;
        Ok(DiskDevice::new(*position, block, function, backend, events))
    }

    fn set_device(&self, position: usize, device: DiskDevice) {
        if let Some(disk) = self.stopped.vm.inner.live().devices.disks.get_mut(&position) {
            disk.set_device(device);
        }
    }
}
