//! VBDs and VIFs: creating, destroying, plugging and unplugging them.

use serde_json::{Value, json};
use uuid::Uuid;
use xvirt_core::net::MacAddress;
use xvirt_worker::protocol::{Answer, Description, Json, Request};

use super::attach::Plugged;
use super::records::{forget_vbd, forget_vif};
use super::stop::milliseconds;
use super::{END_PATIENCE, Inner, observe, slot};
use crate::host::storage::{in_use, will_write};
use crate::model::{
    ClassTable, Network, Ref, Vbd, VbdMode, VbdOperations, Vif, VifOperations, Vm, VmOperations, VmPowerState,
};
use crate::operation::arguments::Arguments;
use crate::operation::values;
use crate::operation::{Failure, codes, create, power};
use crate::sync::lock;
use crate::task::Running;
use crate::worker::{Worker, parts};

/// How long a guest may take to let go of a device.
const UNPLUG: std::time::Duration = std::time::Duration::from_secs(30);
const IN_MEMORY: [VmPowerState; 2] = [VmPowerState::Running, VmPowerState::Paused];

impl Inner {
    /// The verbs of VBDs.
    pub(crate) fn own_of_vbd(&self, running: &Running, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        if name == "create" {
            return self.create_vbd(arguments);
        }
        let vbd: Ref<Vbd> = arguments.reference(0)?;
        let record = self.objects.get(vbd)?;
        match name {
            "destroy" => {
                self.objects.change(|change| {
                    let record = change.get(vbd)?;
                    require_detached(change, &record)?;
                    if let Some(mut vm) = change.find(record.vm)? {
                        vm.vbds.retain(|one| *one != vbd);
                        slot::put(change, record.vm, &mut vm)?;
                    }
                    forget_vbd(change, vbd)
                })?;
                Ok(Value::Null)
            }
            "plug" => self.plug_vbd(running, vbd, &record),
            "unplug" | "unplug_force" => {
                self.occupy(running, vbd, VbdOperations::Unplug, || self.unplug_vbd(vbd, &record))
            }
            "set_mode" => {
                let mode: VbdMode = serde_json::from_value(arguments.value(1)).unwrap_or(VbdMode::Rw);
                self.objects.change(|change| {
                    let mut record = change.get(vbd)?;
                    require_detached(change, &record)?;
                    record.mode = mode;
                    create::check_drive(&record)?;
                    change.put(vbd, &record)
                })?;
                Ok(Value::Null)
            }
            _ => Err(codes::not_implemented(&format!("VBD.{name}"))),
        }
    }

    fn create_vbd(&self, arguments: &Arguments) -> Result<Value, Failure> {
        let given: Vbd = arguments.record(0)?;
        let uuid = Uuid::new_v4();
        let reference = Ref::<Vbd>::new(uuid);
        if !given.vdi.is_null() {
            self.require_no_saved_state(given.vdi, &self.objects.get(given.vdi)?, "attach")?;
        }
        self.objects.change(|change| {
            let mut vm: Vm = change.get(given.vm)?;
            let mut others = Vec::new();
            for other in &vm.vbds {
                others.extend(change.find(*other)?);
            }
            let vdi = if given.vdi.is_null() { None } else { Some(change.get(given.vdi)?) };
            let record = create::vbd(given.clone(), uuid, vdi.as_ref(), &others)?;
            if let Some(mut vdi) = vdi {
                in_use::require_free((given.vdi, &vdi), reference, record.mode, |other| change.find(other))?;
                vdi.vbds.push(reference);
                change.put(given.vdi, &vdi)?;
            }
            change.put(reference, &record)?;
            vm.vbds.push(reference);
            slot::put(change, given.vm, &mut vm)
        })?;
        Ok(json!(reference.to_string()))
    }

    fn plug_vbd(&self, running: &Running, vbd: Ref<Vbd>, record: &Vbd) -> Result<Value, Failure> {
        let worker = self.worker_of(record.vm)?;
        let (record, vdi) = self.begin_plug(running, &worker, vbd, |change, record: &Vbd| {
            if record.empty {
                return Err(Failure::new("VBD_IS_EMPTY", [vbd.to_string()]).with_remedy("insert a disk first"));
            }
            let vdi = change.get(record.vdi)?;
            in_use::require_free((record.vdi, &vdi), vbd, record.mode, |other| change.find(other))?;
            will_write(change, record.vdi)?;
            Ok(vdi)
        })?;
        self.plug(running, &worker, vbd, || match parts::new_disk(&record, &vdi) {
            Ok((disk, files)) => {
                let asked = worker.ask(&Request::PlugDisk(disk), &files.borrowed());
                plugged(&worker, asked, observe::disks, &vdi.location)
            }
            Err(failure) => Plugged::Not(failure),
        })?;
        Ok(Value::Null)
    }

    fn unplug_vbd(&self, vbd: Ref<Vbd>, record: &Vbd) -> Result<Value, Failure> {
        let worker = self.worker_of(record.vm)?;
        let position = lock(&worker.disks).get(&vbd.uuid().unwrap_or_default()).copied();
        let detached =
            || Failure::new("DEVICE_ALREADY_DETACHED", [vbd.to_string()]).with_remedy("nothing is left to do");
        let position = position.ok_or_else(detached)?;
        let timeout = milliseconds(UNPLUG);
        let asked = worker.ask(&Request::UnplugDisk { position, timeout }, &[]);
        asked.map_err(|error| rejected("VBD", vbd, &error))?;
        self.look_for_gone::<Vbd>(&worker)?;
        Ok(Value::Null)
    }

    /// The verbs of VIFs.
    pub(crate) fn own_of_vif(&self, running: &Running, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        if name == "create" {
            return self.create_vif(arguments);
        }
        let vif: Ref<Vif> = arguments.reference(0)?;
        let record = self.objects.get(vif)?;
        match name {
            "destroy" => {
                self.objects.change(|change| {
                    let record = change.get(vif)?;
                    if in_use::nic_is_used(change, &record)? {
                        return Err(codes::not_allowed(
                            "the network interface is attached",
                            "unplug it, or shut the VM down",
                        ));
                    }
                    if let Some(mut vm) = change.find(record.vm)? {
                        vm.vifs.retain(|one| *one != vif);
                        slot::put(change, record.vm, &mut vm)?;
                    }
                    forget_vif(change, vif)
                })?;
                Ok(Value::Null)
            }
            "plug" => self.plug_vif(running, vif, &record),
            "unplug" | "unplug_force" => {
                self.occupy(running, vif, VifOperations::Unplug, || self.unplug_vif(vif, &record))
            }
            _ => Err(codes::not_implemented(&format!("VIF.{name}"))),
        }
    }

    fn create_vif(&self, arguments: &Arguments) -> Result<Value, Failure> {
        let given: Vif = arguments.record(0)?;
        let uuid = Uuid::new_v4();
        let reference = Ref::<Vif>::new(uuid);
        let generated = MacAddress::random().to_string();
        if !given.mac.is_empty() && !given.mac.parse::<MacAddress>().is_ok_and(MacAddress::is_unicast) {
            return Err(Failure::new("MAC_INVALID", [given.mac]).with_remedy("write it as 02:00:00:00:00:01, unicast"));
        }
        self.objects.change(|change| {
            let mut vm: Vm = change.get(given.vm)?;
            let mut network: Network = change.get(given.network)?;
            let mut others = Vec::new();
            for other in &vm.vifs {
                others.extend(change.find(*other)?);
            }
            let record = create::vif(given.clone(), uuid, generated.clone(), &others)?;
            network.vifs.push(reference);
            change.put(given.network, &network)?;
            change.put(reference, &record)?;
            vm.vifs.push(reference);
            slot::put(change, given.vm, &mut vm)
        })?;
        Ok(json!(reference.to_string()))
    }

    fn plug_vif(&self, running: &Running, vif: Ref<Vif>, record: &Vif) -> Result<Value, Failure> {
        let worker = self.worker_of(record.vm)?;
        let (record, network) =
            self.begin_plug(running, &worker, vif, |change, record: &Vif| change.get(record.network))?;
        self.plug(running, &worker, vif, || match parts::new_nic(&record, &network) {
            Ok((nic, files)) => {
                let asked = worker.ask(&Request::PlugNic(nic), &files.borrowed());
                plugged(&worker, asked, observe::nics, &record.mac)
            }
            Err(failure) => Plugged::Not(failure),
        })?;
        Ok(Value::Null)
    }

    fn unplug_vif(&self, vif: Ref<Vif>, record: &Vif) -> Result<Value, Failure> {
        let worker = self.worker_of(record.vm)?;
        let position = lock(&worker.nics).get(&vif.uuid().unwrap_or_default()).copied();
        let detached =
            || Failure::new("DEVICE_ALREADY_DETACHED", [vif.to_string()]).with_remedy("nothing is left to do");
        let position = position.ok_or_else(detached)?;
        let timeout = milliseconds(UNPLUG);
        worker.ask(&Request::UnplugNic { position, timeout }, &[]).map_err(|error| rejected("VIF", vif, &error))?;
        self.look_for_gone::<Vif>(&worker)?;
        Ok(Value::Null)
    }

    /// Puts changed limits of a device into force, if its VM is in memory.
    pub(crate) fn apply_limits(&self, table: &ClassTable, uuid: Uuid) -> Result<(), Failure> {
        let request = if table.name == "VBD" {
            let vbd = self.objects.get(Ref::<Vbd>::new(uuid))?;
            let position = self.live(vbd.vm).and_then(|worker| lock(&worker.disks).get(&uuid).copied());
            let limit = values::limit(&vbd.qos_algorithm_type, &vbd.qos_algorithm_params, "")?;
            position.map(|position| (vbd.vm, Json::of(&limit).map(|limit| Request::SetDiskLimit { position, limit })))
        } else {
            let vif = self.objects.get(Ref::<Vif>::new(uuid))?;
            let position = self.live(vif.vm).and_then(|worker| lock(&worker.nics).get(&uuid).copied());
            let limit = values::nic_limit(&vif.qos_algorithm_type, &vif.qos_algorithm_params)?;
            position.map(|position| (vif.vm, Json::of(&limit).map(|limit| Request::SetNicLimit { position, limit })))
        };
        let Some((vm, request)) = request else { return Ok(()) };
        let request = request.map_err(|error| codes::of_worker(&error))?;
        let Some(worker) = self.live(vm) else { return Ok(()) };
        worker.ask(&request, &[]).map(drop).map_err(|error| codes::of_worker(&error))
    }

    fn live(&self, vm: Ref<Vm>) -> Option<std::sync::Arc<crate::worker::Worker>> {
        vm.uuid().and_then(|uuid| self.worker(uuid))
    }

    fn worker_of(&self, vm: Ref<Vm>) -> Result<std::sync::Arc<crate::worker::Worker>, Failure> {
        let record = self.objects.get(vm)?;
        // What is plugged in meanwhile would be in the old worker only.
        power::require_none(&record, vm, |operation| operation == VmOperations::PoolMigrate)?;
        self.live(vm).ok_or_else(|| power::bad_power_state(vm, &IN_MEMORY, record.power_state))
    }
}

/// What came of a request to plug a device in, which the worker has by this `name` among those that it lists.
fn plugged(
    worker: &Worker,
    asked: xvirt_worker::Result<Answer>,
    list: impl FnOnce(&Description) -> Option<Vec<(String, u64)>>,
    name: &str,
) -> Plugged {
    let failure = match asked {
        Ok(Answer::Position(position)) => return Plugged::At(position),
        Ok(_) => codes::internal("a worker answers something else than the position of a device"),
        Err(error) => codes::of_worker(&error),
    };
    // What is not known to have failed may have been done.
    let described = worker.connect(Some(END_PATIENCE)).and_then(|(mut connection, _)| connection.describe());
    let Some(devices) = described.ok().and_then(|description| list(&description)) else {
        return Plugged::Unknown(failure);
    };
    let position = devices.into_iter().find(|(device, _)| device == name).map(|(_, position)| position);
    position.map_or(Plugged::Not(failure), Plugged::At)
}

/// Requires that no VM uses the disk of a VBD.
fn require_detached(change: &mut crate::objects::Change<'_>, vbd: &Vbd) -> Result<(), Failure> {
    if in_use::is_used(change, vbd)? {
        return Err(codes::not_allowed("the disk is attached", "unplug it, or shut the VM down"));
    }
    Ok(())
}

fn rejected(class: &str, of: impl std::fmt::Display, error: &xvirt_worker::Error) -> Failure {
    if error.kind() == xvirt_worker::kind::TIMEOUT {
        let reason = "the guest does not let go of it";
        return Failure::new("DEVICE_DETACH_REJECTED", [class.to_owned(), of.to_string(), reason.to_owned()])
            .with_remedy("unmount it in the guest first");
    }
    codes::of_worker(error)
}
