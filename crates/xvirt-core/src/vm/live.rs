//! The current state of a VM, which queries read.
//!
//! Only the holder of the VM's operation lock changes it, and no thread keeps it locked during anything slow. So
//! queries return immediately, whatever a verb waits for.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::assemble::{BalloonDevice, DiskDevice, NicDevice};
use super::devices::Devices;
use super::disks::DiskStatus;
use super::events::Event;
use super::halt::{Crash, HaltCause, Halted};
use super::image_change::TakenOut;
use super::nics::NicStatus;
use super::resume::Resumed;
use super::saved::SavedState;
use super::state::PowerState;
use super::statistics::Statistics;
use super::tracking::Tracked;
use crate::cgroup::CpuGroup;
use crate::config::{ByteSize, CpuLimit, VmConfig};
use crate::machine::Machine;
use crate::{Error, ErrorKind, Result};

#[derive(Debug)]
pub(super) struct Live {
    pub(super) state: PowerState,
    pub(super) devices: Devices,
    /// How much CPU time its vCPUs may use.
    pub(super) cpu_limit: CpuLimit,
    pub(super) running: Option<Running>,
    /// The file from which a suspended VM resumes.
    pub(super) saved: Option<Arc<dyn SavedState>>,
    /// The disks that a migration has closed, of a VM that may run elsewhere or could not open them again.
    pub(super) released: Option<Vec<TakenOut>>,
    pub(super) halted: Option<Halted>,
    pub(super) last_crash: Option<Crash>,
    /// The last values, returned by queries while the machine is being torn down.
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Ending {
    statistics: Statistics,
    disks: Vec<DiskStatus>,
    nics: Vec<NicStatus>,
}

/// The parts of a machine to tear down. Dropped in this order: the loading of its memory ends before the machine, and the
/// machine before its disk locks and its control group.
#[derive(Debug)]
#[expect(dead_code, reason = "it is kept to be dropped where waiting is allowed")]
pub(super) struct Teardown {
    machine: Arc<Machine>,
    /// Not before, because KVM ends the log of a machine that still runs only when its vCPUs let it.
    tracked: Option<Tracked>,
    devices: (Vec<DiskDevice>, Vec<NicDevice>),
    balloon: Option<BalloonDevice>,
    cpu_group: Option<CpuGroup>,
    resumed: Option<Resumed>,
}

impl Drop for Teardown {
    fn drop(&mut self) {
        if let Some(resumed) = &self.resumed {
            resumed.end(&self.machine);
        }
    }
}

/// The parts of a VM in memory other than disks and network interfaces.
#[derive(Debug)]
pub(super) struct Running {
    /// Verbs hold clones of it only while they hold the operation lock, so the verb that halts the VM drops the last
    /// one.
    pub(super) machine: Arc<Machine>,
    /// The guest's memory when its balloon is empty.
    pub(super) memory: ByteSize,
    pub(super) balloon: Option<BalloonDevice>,
    pub(super) cpu_group: Option<CpuGroup>,
    /// When it was started.
    pub(super) since: Instant,
    /// How it was resumed, if it was.
    pub(super) resumed: Option<Resumed>,
    /// What its guest has written since a checkpoint.
    pub(super) tracked: Option<Tracked>,
}

impl Live {
    /// The state of a VM that is halted, or suspended to the file `saved`.
    pub(super) fn new(devices: Devices, cpu_limit: CpuLimit, saved: Option<Arc<dyn SavedState>>) -> Self {
        let halted = saved.is_none().then(|| Halted::now(HaltCause::NotStarted));
        let state = if saved.is_some() { PowerState::Suspended } else { PowerState::Halted };
        Self { state, devices, cpu_limit, running: None, saved, released: None, halted, last_crash: None, ending: None }
    }

    /// Records that the VM was started or resumed, as `event` says.
    pub(super) fn started(&mut self, running: Running, event: &Event) {
        self.running = Some(running);
        self.saved = None;
        self.enter(PowerState::Running, event);
    }

    /// Takes the machine, if there is one, to tear it down. Queries get the last values until the VM is halted.
    pub(super) fn begin_teardown(&mut self) -> Option<Teardown> {
        let ending = Ending { statistics: self.statistics(), disks: self.disks(), nics: self.nics() };
        let Running { machine, balloon, cpu_group, resumed, tracked, memory: _, since: _ } = self.running.take()?;
        self.ending = Some(ending);
        self.released = None;
        if let Some(device) = &balloon {
            // Wakes the threads that wait for the guest's balloon driver.
            device.balloon.end();
        }
        Some(Teardown { machine, tracked, devices: self.devices.leave_machine(), balloon, cpu_group, resumed })
    }

    /// Sets the power state, because of `event`.
    pub(super) fn enter(&mut self, state: PowerState, event: &Event) {
        self.state = state;
        self.ending = None;
        self.halted = (state == PowerState::Halted).then(|| Halted::now(event.into()));
        self.happened(event);
    }

    /// Records `event` for later queries.
    pub(super) fn happened(&mut self, event: &Event) {
        if let Event::Crashed(reason) = event {
            self.last_crash = Some(Crash { reason: reason.clone(), time: SystemTime::now() });
        }
    }

    /// Whether it was migrated, and runs elsewhere.
    pub(super) fn was_migrated(&self) -> bool {
        self.halted.as_ref().is_some_and(|halted| halted.cause == HaltCause::Migrated)
    }

    /// Fails if a migration has closed the disks of the VM called `name`, and its outcome has not been decided.
    pub(super) fn require_decided(&self, name: &str) -> Result<()> {
        if self.released.is_none() {
            return Ok(());
        }
        let what = format!("VM '{name}' may run at the target of a migration");
        Err(Error::new(ErrorKind::InvalidState, what)
            .with_remedy("find out whether it does, and decide with resolve_migration"))
    }

    pub(super) fn statistics(&self) -> Statistics {
        match (&self.running, &self.ending) {
            (Some(running), _) => Statistics::of(running, &self.devices),
            (None, Some(ending)) => ending.statistics.clone(),
            (None, None) => Statistics::default(),
        }
    }

    pub(super) fn disks(&self) -> Vec<DiskStatus> {
        match &self.ending {
            Some(ending) => ending.disks.clone(),
            None => self.devices.disks.iter().filter_map(|(at, disk)| DiskStatus::of(*at, disk)).collect(),
        }
    }

    pub(super) fn nics(&self) -> Vec<NicStatus> {
        match &self.ending {
            Some(ending) => ending.nics.clone(),
            None => self.devices.nics.iter().filter_map(|(at, nic)| NicStatus::of(*at, nic)).collect(),
        }
    }

    /// The configuration that builds the VM as it is now; `base` is the one it was built from.
    pub(super) fn config(&self, base: &VmConfig) -> VmConfig {
        let mut config = self.devices.in_config(base);
        config.cpus.limit = self.cpu_limit;
        config
    }
}
