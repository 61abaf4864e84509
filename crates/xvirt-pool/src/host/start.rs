//! Starting and resuming a VM.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;
use xvirt_worker::protocol::{Description, Request};

use super::owner::{Owner, Phase};
use super::suspend::forget_saved_state;
use super::{Inner, attach, descriptors, slot};
use crate::host::storage::{in_use, will_write};
use crate::model::{Console, ConsoleProtocol, Network, Ref, Vbd, VbdType, Vdi, Vif, Vm, VmOperations, VmPowerState};
use crate::objects::Change;
use crate::operation::{Failure, codes, values};
use crate::sync::lock;
use crate::task::Running;
use crate::worker::Worker;
use crate::worker::config::Records;
use crate::worker::parts::Parts;

/// How long a worker may take to build and start a VM.
const PATIENCE: Duration = Duration::from_secs(300);

/// How a VM is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Whether it is paused at once.
    pub(crate) paused: bool,
    /// Whether it goes on from its saved state.
    pub(crate) resumes: bool,
}

impl Inner {
    /// Starts or resumes a VM.
    pub(crate) fn start(self: &Arc<Self>, running: &Running, vm: Ref<Vm>, how: Start) -> Result<Value, Failure> {
        let operation = if how.resumes { VmOperations::Resume } else { VmOperations::Start };
        let (host, boot) = (self.host, self.boot.clone());
        let mut epoch = 0;
        let record = self.begin(running, vm, operation, |change, record| {
            let owner = slot::owner_of(change, vm)?;
            if owner.phase != Phase::None {
                return Err(not_over());
            }
            let owner = owner.claim(host.uuid().unwrap_or_default(), &boot);
            epoch = owner.epoch;
            record.scheduled_to_be_resident_on = host;
            for vbd in &record.vbds {
                if let Some(vbd) = change.find(*vbd)? {
                    will_write(change, vbd.vdi)?;
                }
            }
            change.put_beside(&Owner::key(vm), &owner)
        })?;
        let gathered = self.require_last_is_over(vm).and_then(|()| self.gather(vm, record)).and_then(|records| {
            self.require_free_disks(&records)?;
            descriptors::require(&records)?;
            Ok(records)
        });
        let made = gathered.and_then(|mut records| {
            if how.resumes {
                // A device that was added since is not in the saved state.
                records.disks.retain(|(_, vbd, _)| vbd.currently_attached);
                records.nics.retain(|(_, vif, _)| vif.currently_attached);
            }
            let needed = promised(&records.vm);
            lock(&self.memory).promise(records.uuid, needed)?;
            let run = self.run(running, &records, epoch, how);
            let (worker, description) = run.inspect_err(|_| lock(&self.memory).release(records.uuid))?;
            Ok((worker, description, devices(&records)))
        });
        match made {
            Ok((worker, description, devices)) => self.started(running, vm, how, worker, &description, devices),
            Err(failure) => {
                let outcome = Err(failure);
                let _ = self.finish(running, vm, &outcome, |_, record, owner| {
                    record.scheduled_to_be_resident_on = Ref::NULL;
                    *owner = Owner { restart: false, ..owner.release() };
                    Ok(())
                });
                outcome
            }
        }
    }

    /// Waits until nothing is left of the last run of a VM, which may have halted only just now.
    fn require_last_is_over(&self, vm: Ref<Vm>) -> Result<(), Failure> {
        let Some(last) = vm.uuid().and_then(|uuid| self.worker(uuid)) else { return Ok(()) };
        last.wait_over(super::END_PATIENCE).map(drop).ok_or_else(not_over)
    }

    /// Records that a VM runs, and follows its worker.
    fn started(
        self: &Arc<Self>,
        running: &Running,
        vm: Ref<Vm>,
        how: Start,
        worker: Worker,
        description: &Description,
        devices: BTreeSet<Uuid>,
    ) -> Result<Value, Failure> {
        let (host, now) = (self.host, self.since_boot());
        let (state, seen, version) = (power_state(description), description.last_event, version(description));
        let used_up = how.resumes;
        if used_up {
            self.remove_saved_state(vm);
        }
        let outcome = Ok(Value::Null);
        let worker = Arc::new(worker);
        lock(&self.workers).insert(worker.vm, Arc::clone(&worker));
        let console = Uuid::new_v4();
        let recorded = self.finish(running, vm, &outcome, move |change, record, owner| {
            (owner.phase, owner.restart) = (Phase::Running, false);
            (owner.started, owner.seen, owner.told) = (now, seen, seen);
            record.power_state = state.unwrap_or(VmPowerState::Running);
            record.domid = i64::try_from(owner.epoch).unwrap_or(i64::MAX);
            record.xvirt_worker_version.clone_from(&version);
            set_running(change, vm, record, host, console)?;
            // One that was made since is not in the guest.
            attach::set_attached(change, record, |device| Some(devices.contains(&device)))?;
            if used_up {
                forget_saved_state(change, record)?;
            }
            Ok(())
        });
        self.follow(worker, seen);
        recorded.map(|()| Value::Null)
    }

    /// The records of a VM and its devices.
    pub(crate) fn gather(&self, vm: Ref<Vm>, record: Vm) -> Result<Records, Failure> {
        let (mut disks, mut nics) = (Vec::new(), Vec::new());
        for reference in &record.vbds {
            let vbd: Vbd = self.objects.get(*reference)?;
            if vbd.empty || (vbd.r#type == VbdType::Cd && vbd.vdi.is_null()) {
                continue;
            }
            let vdi: Vdi = self.objects.get(vbd.vdi)?;
            disks.push((reference.uuid().unwrap_or_default(), vbd, vdi));
        }
        for reference in &record.vifs {
            let vif: Vif = self.objects.get(*reference)?;
            let network: Network = self.objects.get(vif.network)?;
            nics.push((reference.uuid().unwrap_or_default(), vif, network));
        }
        // Places are numbers as text; those that are none come last.
        let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
        disks.sort_by_key(|(uuid, vbd, _)| (number(&vbd.userdevice), *uuid));
        nics.sort_by_key(|(uuid, vif, _)| (number(&vif.device), *uuid));
        Ok(Records { uuid: vm.uuid().unwrap_or_default(), vm: record, disks, nics })
    }

    /// Checks that no other VM has one of the disks to write. Workers lock them as well; this one also knows VMs that are
    /// suspended.
    fn require_free_disks(&self, records: &Records) -> Result<(), Failure> {
        for (uuid, vbd, vdi) in &records.disks {
            let find = |other| self.objects.get(other).map(Some);
            in_use::require_free((vbd.vdi, vdi), Ref::new(*uuid), vbd.mode, find)?;
        }
        Ok(())
    }

    /// Makes the worker, and lets it build and start the VM. Nothing is left behind if that fails.
    fn run(
        &self,
        running: &Running,
        records: &Records,
        epoch: u64,
        how: Start,
    ) -> Result<(Worker, Description), Failure> {
        let mut parts = Parts::open(records, &self.options.kernels(), &self.report, epoch)?;
        if how.resumes {
            let state: Vdi = self.objects.get(records.vm.suspend_vdi).map_err(|_| no_saved_state(records))?;
            parts.add_saved_state(state.location.as_ref())?;
        }
        running.check()?;
        let place = self.places.of(records.uuid);
        let memory = u64::try_from(records.vm.memory_static_max).unwrap_or(0);
        let worker = self.launcher.make(records.uuid, epoch, memory, &place)?;
        let built = self.build(running, &worker, &parts, how);
        match built.or_else(|failure| has_resumed(&worker, how).ok_or(failure)) {
            Ok(description) => {
                set_positions(&worker, records, &description);
                // A new control group has none.
                if values::cpu_limits(&records.vm.vcpus_params) != (None, None) {
                    self.limit_cpu(records.uuid, &records.vm.vcpus_params);
                }
                Ok((worker, description))
            }
            Err(failure) => {
                // One that does not end keeps its files, by which the next start finds it.
                if worker.discard() {
                    self.remove_place(records.uuid);
                }
                Err(failure)
            }
        }
    }

    fn build(&self, running: &Running, worker: &Worker, parts: &Parts, how: Start) -> Result<Description, Failure> {
        let failed = |error: xvirt_worker::Error| {
            // A worker that cannot build its VM ends, and says why in its record as well.
            let gone = error.kind() == xvirt_worker::kind::GONE && worker.wait(Some(super::END_PATIENCE));
            let recorded = if gone { worker.place.why_not_built() } else { None };
            codes::of_worker(&recorded.unwrap_or(error))
        };
        let (mut connection, copy) = worker.connect(Some(PATIENCE)).map_err(failed)?;
        connection.call(&Request::Build(Box::new(parts.build.clone())), &parts.files.borrowed()).map_err(failed)?;
        running.check()?;
        if how.resumes {
            // That takes as long as its memory takes to be read.
            connection.set_time_limit(None).map_err(failed)?;
            running.waits_for_answer(copy);
            let resumed = connection.call(&Request::Resume { how: None }, &[]);
            running.waits_for(None);
            if running.is_cancelled() && resumed.is_err() {
                return Err(running.cancelled());
            }
            resumed.map_err(failed)?;
            // A task that is cancelled now has closed its side of that one.
            connection = worker.connect(Some(PATIENCE)).map_err(failed)?.0;
        } else {
            connection.call(&Request::Start, &[]).map_err(failed)?;
        }
        if how.paused {
            connection.call(&Request::Pause, &[]).map_err(failed)?;
        }
        connection.describe().map_err(failed)
    }

    /// Puts limits of CPU time into force. A VM runs without them too, so a message says if that fails.
    pub(crate) fn limit_cpu(&self, vm: Uuid, parameters: &BTreeMap<String, String>) {
        let (weight, cap) = values::cpu_limits(parameters);
        if let Err(error) = self.launcher.limit_cpu(vm, weight, cap) {
            let text = format!("the limits of VCPUs_params are not in force: {error}");
            self.tell(Ref::new(vm), crate::event::News::Degraded(text));
        }
    }

    /// Removes the files of a worker that has ended.
    pub(crate) fn remove_place(&self, vm: Uuid) {
        if let Err(failure) = self.places.of(vm).remove() {
            tracing::warn!(%failure, "the folder of a worker cannot be removed");
        }
        if let Ok(groups) = &self.launcher.groups {
            groups.remove(vm);
        }
    }
}

/// What a worker describes whose VM has gone on from its saved state nevertheless, which is used up then.
fn has_resumed(worker: &Worker, how: Start) -> Option<Description> {
    if !how.resumes {
        return None;
    }
    let described = worker.connect(Some(super::END_PATIENCE)).and_then(|(mut connection, _)| connection.describe());
    let states = [Some(VmPowerState::Running), Some(VmPowerState::Paused)];
    described.ok().filter(|description| states.contains(&power_state(description)))
}

fn not_over() -> Failure {
    codes::not_allowed("the last run of the VM has not ended yet", "try again, and see whether its worker lives")
}

/// The host memory that a VM takes, in bytes.
pub(crate) fn promised(vm: &Vm) -> u64 {
    u64::try_from(values::host_memory(vm.memory_static_max)).unwrap_or(0)
}

/// Notes where the devices of a VM are, which were built in the order of its records.
fn set_positions(worker: &Worker, records: &Records, description: &Description) {
    let disks = records.disks.iter().map(|(uuid, ..)| *uuid);
    *lock(&worker.disks) = disks.zip(description.disk_positions.iter().copied()).collect();
    let nics = records.nics.iter().map(|(uuid, ..)| *uuid);
    *lock(&worker.nics) = nics.zip(description.nic_positions.iter().copied()).collect();
}

/// The VBDs and VIFs that a VM was built with.
fn devices(records: &Records) -> BTreeSet<Uuid> {
    let disks = records.disks.iter().map(|(uuid, ..)| *uuid);
    disks.chain(records.nics.iter().map(|(uuid, ..)| *uuid)).collect()
}

/// The power state that a worker describes.
pub(crate) fn power_state(description: &Description) -> Option<VmPowerState> {
    match description.power_state.as_deref()? {
        "running" => Some(VmPowerState::Running),
        "paused" => Some(VmPowerState::Paused),
        "suspended" => Some(VmPowerState::Suspended),
        _ => Some(VmPowerState::Halted),
    }
}

/// The version that a worker says it has.
pub(crate) fn version(description: &Description) -> String {
    const LONGEST: usize = 64;
    description.worker.chars().take(LONGEST).collect()
}

/// What else a VM's record says while it is in memory.
pub(crate) fn set_running(
    change: &mut Change<'_>,
    vm: Ref<Vm>,
    record: &mut Vm,
    host: Ref<crate::model::Host>,
    console: Uuid,
) -> Result<(), Failure> {
    record.resident_on = host;
    record.scheduled_to_be_resident_on = Ref::NULL;
    record.domarch = "x86_64".to_owned();
    record.memory_target = record.memory_dynamic_max;
    record.memory_overhead = values::overhead(record.memory_static_max);
    record.requires_reboot = false;
    if record.consoles.is_empty() {
        let address = change.find(host)?.map(|host| host.address).unwrap_or_default();
        let object = Console {
            uuid: console.to_string(),
            protocol: ConsoleProtocol::Vt100,
            location: format!("https://{address}/console?uuid={console}"),
            vm,
            ..Console::default()
        };
        change.put(Ref::new(console), &object)?;
        record.consoles.push(Ref::new(console));
    }
    Ok(())
}

fn no_saved_state(records: &Records) -> Failure {
    Failure::new("VM_HAS_NO_SUSPEND_VDI", [Ref::<Vm>::new(records.uuid).to_string()])
        .with_remedy("cut its power with VM.hard_shutdown, and start it")
}
