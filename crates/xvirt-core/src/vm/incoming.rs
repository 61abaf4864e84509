//! A VM that is being migrated to this host: what happens to it at the target.
//!
//! Its memory arrives while the guest runs elsewhere. Then its disks are opened, which the source has closed by then, and
//! the machine is assembled from the rest of its state.

use std::io::Write;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Vm;
use super::consoles::SavedConsoles;
use super::events::Event;
use super::handle::Started;
use super::saved::{Description, SavedImage};
use super::suspend::file_in_memory;
use crate::arch::x86_64::cpuid::CpuidTemplate;
use crate::config::VmConfig;
use crate::host::Host;
use crate::machine::{ElapsedTime, MachineState, Restore};
use crate::memory::{GuestRam, allocate};
use crate::state::StateReader;
use crate::{Error, ErrorKind, Result};

/// What the source says about a VM before it arrives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Requirements {
    pub(super) description: Description,
    /// What the guest was told of its processors.
    pub(super) cpuid: CpuidTemplate,
}

/// A VM that another host wants to migrate here.
#[derive(Clone, Debug)]
pub struct ArrivingVm {
    requirements: Requirements,
    config: Option<VmConfig>,
}

impl ArrivingVm {
    /// Reads what [`Outgoing::requirements`](super::Outgoing::requirements) wrote, and the configuration as JSON.
    pub(crate) fn decode(requirements: &[u8], config: &str) -> Result<Self> {
        let unreadable = "the description of the VM cannot be read";
        let mut requirements: Requirements = rmp_serde::from_slice(requirements)
            .map_err(|e| Error::new(ErrorKind::CorruptState, unreadable).because(e))?;
        requirements.description.config = Some(config.to_owned()).filter(|config| !config.is_empty());
        let config = requirements.description.check()?;
        Ok(Self { requirements, config })
    }

    /// The VM's UUID.
    pub fn uuid(&self) -> Uuid {
        self.requirements.description.uuid
    }

    /// The VM's name.
    pub fn name(&self) -> &str {
        &self.requirements.description.name
    }

    /// Its configuration there; `None` if it contains open objects, such as a connected socket.
    pub fn config(&self) -> Option<&VmConfig> {
        self.config.as_ref()
    }
}

/// A VM that does not run here yet. Dropping it gives everything back.
pub(crate) struct Incoming {
    // Dropped in this order: the machine before the memory.
    started: Option<Started>,
    vm: Vm,
    memory: GuestRam,
}

impl Incoming {
    /// Allocates the memory of a VM that gets this configuration here.
    ///
    /// # Errors
    /// The configuration does not fit the VM; or as [`VmConfig::build`]; or there is not enough memory.
    pub(crate) fn new(arriving: &ArrivingVm, mut config: VmConfig, host: &Host) -> Result<Self> {
        let Requirements { description, cpuid } = &arriving.requirements;
        (config.uuid, config.generation_id) = (description.uuid, description.generation_id);
        let (size, backing) = (config.memory, config.memory_backing.clone());
        let vm = config.build_described(host, description, None)?;
        vm.inner.processors.check_fits(cpuid)?;
        Ok(Self { started: None, vm, memory: allocate(size, &backing)? })
    }

    /// Its memory, to be filled.
    pub(crate) fn memory(&self) -> &GuestRam {
        &self.memory
    }

    /// Opens and locks its disks, and assembles the machine from the state that
    /// [`Outgoing::release`](super::Outgoing::release) returned. Its memory must be complete.
    ///
    /// # Errors
    /// A disk is not there, not the same, or in use; or this host does not fit the VM; or `state` is damaged.
    pub(crate) fn prepare(&mut self, state: &[u8]) -> Result<()> {
        let mut file = file_in_memory()?;
        file.write_all(state).map_err(|e| Error::io("cannot keep the state of the machine", e))?;
        let reader = StateReader::new(file)?;
        let description: Description = reader.section()?;
        let consoles: SavedConsoles = reader.section()?;
        let state = MachineState { processors: reader.section()?, devices: reader.section()? };
        let inner = &self.vm.inner;
        let disks: Vec<_> = inner.live().devices.disks.values().map(|disk| disk.config.clone()).collect();
        let mut images = description.images.iter().zip(&disks);
        images.try_for_each(|(image, disk)| {
            image.as_ref().map_or(Ok(()), |image: &SavedImage| image.require_same(disk))
        })?;
        inner.consoles.go_on_from(consoles);
        let restore = Restore { state: &state, time: ElapsedTime::Counted, memory: Some(&self.memory) };
        let started = inner.assemble(1, Some(restore), |machine, _| {
            machine.finish_restore()?;
            machine.tell_stopped()
        })?;
        self.started = Some(started);
        Ok(())
    }

    /// Runs the guest.
    ///
    /// # Errors
    /// It was not prepared.
    pub(crate) fn run(self) -> Result<Vm> {
        let Self { started, vm, .. } = self;
        let started = started.ok_or_else(|| Error::new(ErrorKind::InvalidState, "the VM has no machine here yet"))?;
        started.announce();
        vm.inner.run(&mut vm.inner.lock(), started, &Event::Resumed);
        Ok(vm)
    }
}
