//! A VM that is being migrated to this host: what happens to it at the target.
//!
//! Its memory arrives while the guest runs elsewhere. Then its disks are opened, which the source has closed by then, and
//! the machine is assembled from the rest of its state.

use std::io::Write;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::consoles::SavedConsoles;
use super::events::Event;
use super::handle::Started;
use super::saved::{Description, SavedImage};
use super::suspend::file_in_memory;
use super::{Vm, arrival};
use crate::arch::x86_64::cpuid::CpuidTemplate;
use crate::config::{ByteSize, MemoryBacking, VmConfig};
use crate::host::Host;
use crate::machine::{BareMachine, ElapsedTime, MachineState, Prepared, Restore};
use crate::memory::{GuestRam, MemoryFile, allocate, clear_files, ram_ranges, take_over};
use crate::state::StateReader;
use crate::{Error, ErrorKind, Result};

/// What the source says about a VM before it arrives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Requirements {
    pub(super) description: Description,
    /// What the guest was told of its processors.
    pub(super) cpuid: CpuidTemplate,
    /// The frequency of its time stamp counter, in kHz.
    pub(super) tsc_khz: u32,
    /// The sizes of its disks in bytes.
    pub(super) disk_sizes: Vec<u64>,
    /// Whether its guest's next power-off is the first half of a reboot.
    #[serde(default)]
    pub(super) reboot_on_power_off: bool,
}

/// A VM that another host wants to migrate here.
#[derive(Clone, Debug)]
pub struct ArrivingVm {
    requirements: Requirements,
    config: Option<VmConfig>,
    only_checked: bool,
    local_hand_over: bool,
}

impl ArrivingVm {
    /// Reads what [`Outgoing::requirements`](super::Outgoing::requirements) wrote, and the configuration as JSON.
    pub(crate) fn decode(requirements: &[u8], config: &str) -> Result<Self> {
        let unreadable = "the description of the VM cannot be read";
        let mut requirements: Requirements = rmp_serde::from_slice(requirements)
            .map_err(|e| Error::new(ErrorKind::CorruptState, unreadable).because(e))?;
        requirements.description.config = Some(config.to_owned()).filter(|config| !config.is_empty());
        let config = requirements.description.check()?;
        Ok(Self { requirements, config, only_checked: false, local_hand_over: false })
    }

    /// Sets whether the source only asks if it would be taken.
    pub(crate) fn only_checked(mut self, only_checked: bool) -> Self {
        self.only_checked = only_checked;
        self
    }

    /// Sets whether this is a local hand-over.
    pub(crate) fn local_hand_over(mut self, local_hand_over: bool) -> Self {
        self.local_hand_over = local_hand_over;
        self
    }

    /// Whether the source only asks if the VM would be taken; it does not arrive then.
    pub fn is_only_checked(&self) -> bool {
        self.only_checked
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

    /// Whether this is a local hand-over, in which memory is not copied: the source passed the descriptors of the files that hold it, which this process
    /// then shares with the source. See [`MemoryTransfer::LocalHandOver`](crate::migrate::MemoryTransfer::LocalHandOver).
    pub fn is_local_hand_over(&self) -> bool {
        self.local_hand_over
    }
}

/// A VM that does not run here yet. Dropping it gives everything back.
pub(crate) struct Incoming {
    // Dropped in this order: the machine before the memory.
    started: Option<Started>,
    /// The part of the machine that is there before the state arrives.
    bare: Option<BareMachine>,
    vm: Vm,
    memory: GuestRam,
    reboot_on_power_off: bool,
}

impl Incoming {
    /// Allocates the memory of a VM that gets this configuration here, whose guest still runs at the source, or maps that
    /// which the source passed. Creates what does not depend on the state.
    ///
    /// # Errors
    /// Everything that this host lacks: the configuration does not fit the VM, or the memory that the source passed; or as
    /// [`VmConfig::build`]; or there is not enough memory, or a feature of the processors, a disk or a network is not there.
    pub(crate) fn new(
        arriving: &ArrivingVm,
        mut config: VmConfig,
        host: &Host,
        files: Option<&[MemoryFile]>,
    ) -> std::result::Result<Self, Vec<Error>> {
        let Requirements { description, cpuid, tsc_khz, disk_sizes, reboot_on_power_off } = &arriving.requirements;
        (config.uuid, config.generation_id) = (description.uuid, description.generation_id);
        let (size, backing) = (config.memory, config.memory_backing.clone());
        let mut checks = arrival::check(&config, disk_sizes);
        let vm = config.build_described(host, description, None);
        if let Ok(vm) = &vm {
            checks.extend([vm.inner.processors.check_fits(cpuid), vm.inner.processors.check_tsc(*tsc_khz)]);
        }
        let memory = match files {
            Some(files) => map_passed(size, &backing, files),
            None => allocate(size, &backing).and_then(|memory| {
                // A file of the program may have been used before, and pages of zeroes are not written.
                let cleared = clear_files(&memory).map(|()| memory);
                cleared.map_err(|e| Error::io("cannot clear the file of the guest's memory", e))
            }),
        };
        let lacks: Vec<_> = checks.into_iter().filter_map(Result::err).collect();
        match (vm, memory) {
            (Ok(vm), Ok(memory)) if lacks.is_empty() => {
                let bare = BareMachine::new(&vm.inner.processors, cpuid, memory.clone());
                let bare = Some(bare.map_err(|error| vec![error])?);
                Ok(Self { started: None, bare, vm, memory, reboot_on_power_off: *reboot_on_power_off })
            }
            (vm, memory) => Err(vm.err().into_iter().chain(lacks).chain(memory.err()).collect()),
        }
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
        let bare = self.bare.take();
        let bare = bare.ok_or_else(|| Error::new(ErrorKind::InvalidState, "the VM's machine was assembled before"))?;
        let restore =
            Restore { state: &state, time: ElapsedTime::Counted, of_another: false, prepared: Prepared::Bare(bare) };
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
        let Self { started, vm, reboot_on_power_off, .. } = self;
        let started = started.ok_or_else(|| Error::new(ErrorKind::InvalidState, "the VM has no machine here yet"))?;
        started.announce();
        let mut power = vm.inner.lock();
        vm.inner.run(&mut power, started, &Event::Resumed);
        power.reboot_on_power_off = reboot_on_power_off;
        drop(power);
        Ok(vm)
    }
}

/// Maps the memory of a local hand-over, for a VM that is configured to have its memory in a file.
fn map_passed(size: ByteSize, backing: &MemoryBacking, files: &[MemoryFile]) -> Result<GuestRam> {
    let (what, remedy) = if backing.file.is_some() {
        ("the VM would have a memory file of its own here", "leave out VmConfig::memory_file here")
    } else if !backing.needs_file() {
        ("the VM would have private memory here", "give it memory in a file: VmConfig::shared_memory")
    } else {
        return take_over(&ram_ranges(size.bytes()), files, backing);
    };
    let what = format!("a local hand-over shares its memory, and {what}");
    Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy(remedy))
}
