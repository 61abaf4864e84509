//! Which devices VMs have: says so in the records of VBDs and VIFs, which differ in little else.

use std::collections::BTreeMap;
use std::sync::Mutex;

use uuid::Uuid;
use xvirt_worker::protocol::Description;

use super::occupied::{Occupied, require_unoccupied};
use super::{END_PATIENCE, Inner, Phase, slot};
use crate::model::{Ref, Vbd, VbdOperations, Vif, VifOperations, Vm, VmOperations};
use crate::objects::Change;
use crate::operation::{Failure, codes, power};
use crate::sync::lock;
use crate::task::Running;
use crate::worker::Worker;

/// A device of a VM in the records.
pub(crate) trait Device: Occupied + 'static {
    /// What a task does that plugs it in.
    const PLUG: Self::Operation;
    /// The VM.
    fn vm(&self) -> Ref<Vm>;
    /// Whether the guest has it.
    fn is_attached(&self) -> bool;
    /// Says whether the guest has it.
    fn set_attached(&mut self, attached: bool);
    /// The devices of its kind in a VM.
    fn of_vm(vm: &Vm) -> &[Ref<Self>];
    /// The positions of the devices of its kind in a worker.
    fn positions(worker: &Worker) -> &Mutex<BTreeMap<Uuid, u64>>;
    /// The positions of the devices of its kind that a worker describes.
    fn described(description: &Description) -> &[u64];
}

macro_rules! device {
    ($record:ident, $operations:ident, $of_vm:ident, $of_worker:ident, $described:ident) => {
        impl Device for $record {
            const PLUG: $operations = $operations::Plug;

            fn vm(&self) -> Ref<Vm> {
                self.vm
            }

            fn is_attached(&self) -> bool {
                self.currently_attached
            }

            fn set_attached(&mut self, attached: bool) {
                self.currently_attached = attached;
            }

            fn of_vm(vm: &Vm) -> &[Ref<Self>] {
                &vm.$of_vm
            }

            fn positions(worker: &Worker) -> &Mutex<BTreeMap<Uuid, u64>> {
                &worker.$of_worker
            }

            fn described(description: &Description) -> &[u64] {
                &description.$described
            }
        }
    };
}

device!(Vbd, VbdOperations, vbds, disks, disk_positions);
device!(Vif, VifOperations, vifs, nics, nic_positions);

/// Says which devices a VM has, and that none is being plugged in. `None` leaves a device as it is.
pub(crate) fn set_attached(
    change: &mut Change<'_>,
    vm: &Vm,
    attached: impl Fn(Uuid) -> Option<bool>,
) -> Result<(), Failure> {
    set_each::<Vbd>(change, vm, &attached)?;
    set_each::<Vif>(change, vm, &attached)
}

fn set_each<D: Device>(
    change: &mut Change<'_>,
    vm: &Vm,
    attached: &impl Fn(Uuid) -> Option<bool>,
) -> Result<(), Failure> {
    for reference in D::of_vm(vm) {
        let Some(attached) = attached(reference.uuid().unwrap_or_default()) else { continue };
        let Some(mut device) = change.find(*reference)? else { continue };
        device.current().clear();
        device.set_attached(attached);
        change.put(*reference, &device)?;
    }
    Ok(())
}

/// Says that the guest no longer has some devices.
fn detach<D: Device>(change: &mut Change<'_>, devices: &[Uuid]) -> Result<(), Failure> {
    for uuid in devices {
        let reference = Ref::<D>::new(*uuid);
        if let Some(mut device) = change.find(reference)? {
            device.set_attached(false);
            change.put(reference, &device)?;
        }
    }
    Ok(())
}

/// What came of asking a worker to plug a device in.
#[derive(Debug)]
pub(crate) enum Plugged {
    /// The guest has it, at this position.
    At(u64),
    /// The guest does not have it.
    Not(Failure),
    /// Nobody knows: it counts as used until the worker answers or ends.
    Unknown(Failure),
}

impl Inner {
    /// Records that a task plugs a device in, with what `more` requires and does.
    pub(crate) fn begin_plug<D: Device, T>(
        &self,
        running: &Running,
        worker: &Worker,
        reference: Ref<D>,
        mut more: impl FnMut(&mut Change<'_>, &D) -> Result<T, Failure>,
    ) -> Result<(D, T), Failure> {
        let begun = self.objects.change(|change| {
            let mut record = change.get(reference)?;
            if record.is_attached() {
                return Err(Failure::new("DEVICE_ALREADY_ATTACHED", [reference.to_string()]).with_remedy("use it"));
            }
            require_unoccupied(reference, &mut record)?;
            // What is plugged in meanwhile would be in the old worker only.
            let vm = change.get(record.vm())?;
            power::require_none(&vm, record.vm(), |operation| operation == VmOperations::PoolMigrate)?;
            let owner = slot::owner_of(change, record.vm())?;
            if owner.phase != Phase::Running || owner.epoch != worker.epoch {
                return Err(codes::just_ended());
            }
            let done = more(change, &record)?;
            record.current().insert(running.reference().to_string(), D::PLUG);
            change.put(reference, &record)?;
            running.record(change)?;
            Ok((record, done))
        })?;
        running.set_recorded();
        Ok(begun)
    }

    /// Lets a worker plug a device in, and records what came of that. `plug` asks the worker.
    pub(crate) fn plug<D: Device>(
        &self,
        running: &Running,
        worker: &Worker,
        reference: Ref<D>,
        plug: impl FnOnce() -> Plugged,
    ) -> Result<(), Failure> {
        let (task, uuid) = (running.reference().to_string(), reference.uuid().unwrap_or_default());
        // The guest may have it, and let go of it, before that is recorded here.
        let mut known = lock(D::positions(worker));
        let plugged = plug();
        let mut gone = Vec::new();
        if let Plugged::At(position) = plugged {
            // What was there before is gone, though its event may not have come yet.
            gone.extend(known.iter().filter(|(_, at)| **at == position).map(|(device, _)| *device));
            known.retain(|_, at| *at != position);
            known.insert(uuid, position);
        }
        let attached = match &plugged {
            Plugged::Unknown(failure) => return Err(failure.clone()),
            Plugged::At(_) => true,
            Plugged::Not(_) => false,
        };
        let recorded = self.later.make(&self.objects, move |change| {
            detach::<D>(change, &gone)?;
            let Some(mut record) = change.find(reference)? else { return Ok(()) };
            // Otherwise the VM has ended meanwhile.
            if record.current().remove(&task).is_some() {
                record.set_attached(attached);
                change.put(reference, &record)?;
            }
            Ok(())
        });
        match plugged {
            Plugged::Not(failure) | Plugged::Unknown(failure) => Err(failure),
            Plugged::At(_) => recorded,
        }
    }

    /// Looks which devices a worker still has, and says of the others that the guest no longer has them. An event that says
    /// so may be old: its position can be another device's by now.
    pub(crate) fn look_for_gone<D: Device>(&self, worker: &Worker) -> Result<(), Failure> {
        // Nothing is plugged in between the description and the record.
        let mut known = lock(D::positions(worker));
        let described = worker.connect(Some(END_PATIENCE)).and_then(|(mut connection, _)| connection.describe());
        let description = described.map_err(|error| codes::of_worker(&error))?;
        if description.config.is_none() {
            return Ok(());
        }
        let is_there = |at: &u64| D::described(&description).contains(at);
        let gone: Vec<Uuid> = known.iter().filter(|(_, at)| !is_there(at)).map(|(device, _)| *device).collect();
        known.retain(|_, at| is_there(at));
        if gone.is_empty() {
            return Ok(());
        }
        self.later.make(&self.objects, move |change| detach::<D>(change, &gone))
    }

    /// Says that nothing is done with the devices of VMs that are not in memory: an earlier service was about to plug them in.
    pub(crate) fn end_plugs(&self) -> Result<(), Failure> {
        self.end_plugs_of::<Vbd>()?;
        self.end_plugs_of::<Vif>()
    }

    fn end_plugs_of<D: Device>(&self) -> Result<(), Failure> {
        for (reference, mut device) in self.objects.all::<D>()? {
            if device.current().is_empty() {
                continue;
            }
            let ended = self.objects.change(|change| {
                let Some(mut device) = change.find(reference)? else { return Ok(()) };
                if slot::owner_of(change, device.vm())?.phase == Phase::None {
                    device.current().clear();
                    change.put(reference, &device)?;
                }
                Ok(())
            });
            if let Err(failure) = ended {
                tracing::warn!(%failure, device = %reference, "a device counts as used until the next service");
            }
        }
        Ok(())
    }
}
