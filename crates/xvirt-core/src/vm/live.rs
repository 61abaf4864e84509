//! What a VM is and has at this moment, for whoever asks.
//!
//! Only who has the VM's operation lock changes it, and nobody keeps it locked while something takes time. So questions
//! are answered at once, whatever a verb is waiting for.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::assemble::{BalloonDevice, DiskDevice, NicDevice};
use super::devices::Devices;
use super::disks::DiskStatus;
use super::events::Event;
use super::halt::{Crash, HaltCause, Halted};
use super::nics::NicStatus;
use super::state::PowerState;
use super::statistics::Statistics;
use crate::cgroup::CpuGroup;
use crate::config::{ByteSize, CpuLimit, VmConfig};
use crate::machine::Machine;

#[derive(Debug)]
pub(super) struct Live {
    pub(super) state: PowerState,
    pub(super) devices: Devices,
    /// What its vCPUs may take of the host.
    pub(super) cpu_limit: CpuLimit,
    pub(super) running: Option<Running>,
    pub(super) halted: Option<Halted>,
    pub(super) last_crash: Option<Crash>,
    /// What is answered while the machine is being taken apart: what was so last.
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Ending {
    statistics: Statistics,
    disks: Vec<DiskStatus>,
    nics: Vec<NicStatus>,
}

/// What is dropped to take a machine apart, in this order: the machine goes before the locks of its disks and its control
/// group.
#[derive(Debug)]
#[expect(dead_code, reason = "it is kept to be dropped where waiting is allowed")]
pub(super) struct Apart {
    machine: Arc<Machine>,
    devices: (Vec<DiskDevice>, Vec<NicDevice>),
    balloon: Option<BalloonDevice>,
    cpu_group: Option<CpuGroup>,
}

/// What a VM has while it is in memory, apart from disks and network interfaces.
#[derive(Debug)]
pub(super) struct Running {
    /// Shared for the length of a verb, so that the one who ends the VM is the last to have it.
    pub(super) machine: Arc<Machine>,
    /// How much its guest has when nothing is in the balloon.
    pub(super) memory: ByteSize,
    pub(super) balloon: Option<BalloonDevice>,
    pub(super) cpu_group: Option<CpuGroup>,
    /// When it was started.
    pub(super) since: Instant,
}

impl Live {
    pub(super) fn new(devices: Devices, cpu_limit: CpuLimit) -> Self {
        let halted = Some(Halted::now(HaltCause::NotStarted));
        Self { state: PowerState::Halted, devices, cpu_limit, running: None, halted, last_crash: None, ending: None }
    }

    /// The VM runs.
    pub(super) fn started(&mut self, running: Running) {
        self.running = Some(running);
        self.enter(PowerState::Running, &Event::Started);
    }

    /// The machine is to be taken apart, if there is one; until the VM is halted, it is as it was.
    pub(super) fn take_apart(&mut self) -> Option<Apart> {
        let ending = Ending { statistics: self.statistics(), disks: self.disks(), nics: self.nics() };
        let Running { machine, balloon, cpu_group, .. } = self.running.take()?;
        self.ending = Some(ending);
        if let Some(device) = &balloon {
            // Nobody waits for its guest any more.
            device.balloon.end();
        }
        Some(Apart { machine, devices: self.devices.leave_machine(), balloon, cpu_group })
    }

    /// Sets the power state of a VM that has the machine which that state has; `event` is why.
    pub(super) fn enter(&mut self, state: PowerState, event: &Event) {
        self.state = state;
        self.ending = None;
        self.halted = (state == PowerState::Halted).then(|| Halted::now(event.into()));
        self.happened(event);
    }

    /// Keeps what of `event` may be asked for later.
    pub(super) fn happened(&mut self, event: &Event) {
        if let Event::Crashed(reason) = event {
            self.last_crash = Some(Crash { reason: reason.clone(), time: SystemTime::now() });
        }
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

    /// What would build the VM as it is now; `base` is what it was built from.
    pub(super) fn config(&self, base: &VmConfig) -> VmConfig {
        let mut config = self.devices.in_config(base);
        config.cpus.limit = self.cpu_limit;
        config
    }
}
