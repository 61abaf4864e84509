//! A VM that is being migrated to another host: what happens to it at the source.
//!
//! The guest runs while its memory is copied. Then it is stopped, its disks are closed and unlocked, and the rest of its
//! state is read. From there it either runs at the target, or its disks are opened again and it goes on here.

use std::sync::{Arc, Mutex};

use super::events::Event;
use super::handle::Vm;
use super::image_change::TakenOut;
use super::incoming::Requirements;
use super::operation::LongOperation;
use super::state::{PowerState, Verb};
use super::stopped::Stopped;
use crate::config::DiskSource;
use crate::disk::BlockBackend;
use crate::kvm::DirtyLog;
use crate::machine::{Machine, Throttle};
use crate::memory::GuestRam;
use crate::progress::Progress;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// A running VM that is being migrated. Dropping it before its disks are closed lets it go on here; afterwards, the VM stays
/// paused without them until [`Vm::resolve_migration`].
pub(crate) struct Outgoing<'a> {
    // Fields are dropped in this order: the guest goes on before other verbs have their turn.
    throttle: Mutex<Option<Throttle>>,
    log: Mutex<Option<DirtyLog>>,
    stopped: Option<Stopped<'a>>,
    released: Released<'a>,
    machine: Arc<Machine>,
    operation: LongOperation<'a>,
    vm: &'a Vm,
}

impl Vm {
    /// Begins to migrate the VM: no other verb changes it from now on.
    ///
    /// # Errors
    /// It is not running; a clean shutdown or reboot is in progress, which could not go on at the target; or a disk cannot
    /// be opened by another process.
    pub(crate) fn begin_migration(&self) -> Result<Outgoing<'_>> {
        let operation = self.begin_long(Verb::Migrate)?;
        self.require_none_of(&[Verb::CleanShutdown, Verb::CleanReboot], Verb::Migrate)?;
        self.inner.require_all_disks()?;
        self.inner.require_closable()?;
        for (position, disk) in &self.inner.live().devices.disks {
            if let DiskSource::Backend(_) = &disk.config.source {
                let name = self.name();
                let what = format!("cannot migrate VM '{name}': its disk {position} is a backend of the program");
                return Err(Error::new(ErrorKind::InvalidConfig, what)
                    .with_remedy("give the VM an image that both hosts share, or unplug the disk first"));
            }
        }
        let machine = self.inner.running_machine()?;
        let (throttle, log) = (Mutex::default(), Mutex::default());
        Ok(Outgoing {
            throttle,
            log,
            stopped: None,
            released: Released { vm: self, disks: None },
            machine,
            operation,
            vm: self,
        })
    }

    /// Decides a migration whose outcome is unknown, or whose disks could not be opened again: the guest has run at the
    /// target, so that the VM here is halted; or it has not and never will, so that it goes on here. **If it runs there,
    /// `false` destroys the file systems on its disks.**
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) if no migration of it is to be decided. A disk cannot be opened: the VM
    /// stays paused, and this can be called again.
    pub fn resolve_migration(&self, ran_there: bool) -> Result<()> {
        let _span = self.inner.enter_span();
        let mut operation = self.begin_long(Verb::Unpause)?;
        let Some(released) = self.inner.live().released.clone() else {
            let what = format!("no migration of VM '{}' is to be decided", self.name());
            return Err(Error::new(ErrorKind::InvalidState, what).with_remedy("use unpause if it is paused"));
        };
        if ran_there {
            if let Some(power) = operation.take_lock() {
                self.inner.halt(power, Event::Migrated);
            }
            return Ok(());
        }
        let machine = self.inner.running_machine()?;
        Stopped { vm: self, machine: Some(Arc::clone(&machine)), run_again: false }.put_back(&released)?;
        self.inner.live().released = None;
        machine.run_again();
        self.inner.enter(PowerState::Running, &Event::Unpaused);
        Ok(())
    }
}

impl Outgoing<'_> {
    pub(crate) fn vm(&self) -> &Vm {
        self.vm
    }

    /// What the target has to know before its memory arrives: the configuration as JSON, with absolute paths, which is
    /// empty if it has open objects, because the target has its own; and the rest.
    pub(crate) fn offer(&self) -> Result<(String, Vec<u8>)> {
        let live = self.vm.inner.live();
        let mut description = self.vm.inner.describe(&live, true)?;
        let config = description.config.take().unwrap_or_default();
        let disks = live.devices.disks.values();
        let disk_sizes = disks.map(|disk| disk.backend().map_or(0, |backend| backend.capacity())).collect();
        let (cpuid, tsc_khz) = (self.machine.cpuid().clone(), self.machine.tsc_khz());
        let reboot_on_power_off = self.operation.power().is_some_and(|power| power.reboot_on_power_off);
        let requirements = Requirements { description, cpuid, tsc_khz, disk_sizes, reboot_on_power_off };
        let requirements = rmp_serde::to_vec_named(&requirements).map_err(|e| {
            Error::new(ErrorKind::InvalidState, "the description of the VM cannot be written").because(e)
        })?;
        Ok((config, requirements))
    }

    /// Waits until all its memory is there, if it is still being loaded.
    ///
    /// # Errors
    /// It could not be loaded. Or `Cancelled`.
    pub(crate) fn require_memory(&self, progress: &dyn Progress) -> Result<()> {
        self.vm.inner.require_memory(progress)
    }

    /// Its memory, all of which must be [there](Self::require_memory) before it is read.
    pub(crate) fn memory(&self) -> &GuestRam {
        self.machine.ram()
    }

    /// Starts to log what is written to memory.
    pub(crate) fn start_dirty_log(&self) -> Result<()> {
        // There is one log. The next incremental checkpoint here will be a full one.
        self.vm.track(None);
        *lock(&self.log) = Some(self.machine.dirty_log()?);
        Ok(())
    }

    /// The pages that were written since the last call, as [`DirtyLog::take`].
    pub(crate) fn take_dirty(&self) -> Result<Vec<Vec<u64>>> {
        lock(&self.log).as_ref().map_or_else(|| Ok(Vec::new()), DirtyLog::take)
    }

    /// Ends the log.
    pub(crate) fn stop_dirty_log(&self) {
        *lock(&self.log) = None;
    }

    /// Stops the vCPUs for this share of the time.
    pub(crate) fn throttle(&self, percent: u32) -> Result<()> {
        let mut throttle = lock(&self.throttle);
        match &*throttle {
            _ if percent == 0 => *throttle = None,
            Some(throttle) => throttle.set(percent),
            None => *throttle = Some(Throttle::start(Arc::clone(&self.machine), percent)?),
        }
        Ok(())
    }

    /// Writes the disks to stable storage while the guest runs.
    pub(crate) fn flush(&self) -> Result<()> {
        self.vm.inner.flush_disks(|disk| disk.flush())
    }

    /// Stops the guest.
    pub(crate) fn park(&mut self) -> Result<()> {
        self.throttle(0)?;
        self.stopped = Some(self.vm.stop_guest(&self.operation)?);
        Ok(())
    }

    /// Closes and unlocks the disks of the stopped guest, and returns its state except its memory, as saved state. If
    /// that fails, some of the disks may be closed, until [`reclaim`](Self::reclaim).
    pub(crate) fn release(&mut self) -> Result<Vec<u8>> {
        let not_stopped = || Error::new(ErrorKind::InvalidState, "the guest was not stopped");
        let stopped = self.stopped.as_mut().ok_or_else(not_stopped)?;
        self.vm.inner.require_closable()?;
        // The times of the images' last changes are part of the state.
        self.vm.inner.flush_disks(|disk| disk.flush_to_close())?;
        let state = self.vm.inner.state_without_memory(&self.machine)?;
        // From here on, whatever happens, the guest must not run without its disks.
        stopped.stay_stopped();
        stopped.leave_out_images(self.released.disks.insert(Vec::new()))?;
        Ok(state)
    }

    /// Locks and opens the disks again, and lets the guest go on if it ran.
    ///
    /// # Errors
    /// A disk is in use or gone. The guest stays stopped, all disks stay closed, and this can be called again.
    pub(crate) fn reclaim(&mut self) -> Result<()> {
        if let (Some(stopped), Some(disks)) = (&mut self.stopped, &self.released.disks) {
            stopped.put_back(disks)?;
            stopped.run_again = true;
        }
        self.released.disks = None;
        self.stopped = None;
        Ok(())
    }

    /// The guest runs at the target: halts the VM here.
    pub(crate) fn migrated(mut self) {
        self.stopped.iter_mut().for_each(Stopped::stay_stopped);
        self.released.disks = None;
        let Self { vm, mut operation, stopped, machine, log, .. } = self;
        drop((stopped, log, machine));
        if let Some(power) = operation.take_lock() {
            vm.inner.halt(power, Event::Migrated);
        }
    }
}

/// The disks that are closed for the target.
struct Released<'a> {
    vm: &'a Vm,
    /// `None` while none was closed.
    disks: Option<Vec<TakenOut>>,
}

impl Drop for Released<'_> {
    /// Nobody knows whether the guest runs at the target, or its disks cannot be opened again, or a callback of the
    /// program panicked: the VM stays paused without them.
    fn drop(&mut self) {
        if let Some(disks) = self.disks.take() {
            self.vm.inner.live().released = Some(disks);
            self.vm.inner.enter(PowerState::Paused, &Event::Paused);
        }
    }
}
