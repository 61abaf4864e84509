//! VBDs and VIFs: creating, destroying, plugging and unplugging them.

use serde_json::{Value, json};
use uuid::Uuid;
use xvirt_core::net::MacAddress;
use xvirt_worker::protocol::{Answer, Json, Request};

use super::observe::Positions;
use super::records::{forget_vbd, forget_vif};
use super::stop::milliseconds;
use super::{Inner, slot};
use crate::host::storage::will_write;
use crate::model::{ClassTable, Network, Ref, Vbd, VbdMode, Vdi, Vif, Vm, VmOperations, VmPowerState};
use crate::operation::arguments::Arguments;
use crate::operation::values;
use crate::operation::{Failure, codes, create, power};
use crate::sync::lock;
use crate::worker::config::Records;
use crate::worker::parts;

/// How long a guest may take to let go of a device.
const UNPLUG: std::time::Duration = std::time::Duration::from_secs(30);
const IN_MEMORY: [VmPowerState; 2] = [VmPowerState::Running, VmPowerState::Paused];

impl Inner {
    /// The verbs of VBDs.
    pub(crate) fn own_of_vbd(&self, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        if name == "create" {
            return self.create_vbd(arguments);
        }
        let vbd: Ref<Vbd> = arguments.reference(0)?;
        let record = self.objects.get(vbd)?;
        match name {
            "destroy" => {
                self.objects.change(|change| {
                    let record = change.get(vbd)?;
                    if record.currently_attached {
                        return Err(codes::not_allowed("the disk is attached", "unplug it, or shut the VM down"));
                    }
                    if let Some(mut vm) = change.find(record.vm)? {
                        vm.vbds.retain(|one| *one != vbd);
                        slot::put(change, record.vm, &mut vm)?;
                    }
                    forget_vbd(change, vbd)
                })?;
                Ok(Value::Null)
            }
            "plug" => self.plug_vbd(vbd, &record),
            "unplug" | "unplug_force" => self.unplug_vbd(vbd, &record),
            "set_mode" => {
                let mode: VbdMode = serde_json::from_value(arguments.value(1)).unwrap_or(VbdMode::Rw);
                self.objects.change(|change| {
                    let mut record = change.get(vbd)?;
                    if record.currently_attached {
                        return Err(codes::not_allowed("the disk is attached", "unplug it, or shut the VM down"));
                    }
                    record.mode = mode;
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
                require_free(change, &vdi, record.mode)?;
                vdi.vbds.push(reference);
                change.put(given.vdi, &vdi)?;
            }
            change.put(reference, &record)?;
            vm.vbds.push(reference);
            slot::put(change, given.vm, &mut vm)
        })?;
        Ok(json!(reference.to_string()))
    }

    fn plug_vbd(&self, vbd: Ref<Vbd>, record: &Vbd) -> Result<Value, Failure> {
        let worker = self.worker_of(record.vm)?;
        if record.currently_attached {
            return Err(Failure::new("DEVICE_ALREADY_ATTACHED", [vbd.to_string()]).with_remedy("use it"));
        }
        if record.empty {
            return Err(Failure::new("VBD_IS_EMPTY", [vbd.to_string()]).with_remedy("insert a disk first"));
        }
        self.objects.change(|change| {
            will_write(change, record.vdi);
            Ok(())
        })?;
        let vdi = self.objects.get(record.vdi)?;
        let (disk, files) = parts::new_disk(record, &vdi)?;
        // The guest may have it before its position is known here.
        let mut disks = lock(&worker.disks);
        let answer = worker.ask(&Request::PlugDisk(disk), &files.borrowed());
        if let Answer::Position(position) = answer.map_err(|error| codes::of_worker(&error))? {
            disks.insert(vbd.uuid().unwrap_or_default(), position);
        }
        drop(disks);
        self.set_vbd_attached(vbd, true)
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
        lock(&worker.disks).remove(&vbd.uuid().unwrap_or_default());
        self.set_vbd_attached(vbd, false)
    }

    fn set_vbd_attached(&self, vbd: Ref<Vbd>, attached: bool) -> Result<Value, Failure> {
        self.later.make(&self.objects, move |change| {
            let Some(mut record) = change.find(vbd)? else { return Ok(()) };
            record.currently_attached = attached;
            change.put(vbd, &record)
        })?;
        Ok(Value::Null)
    }

    /// The verbs of VIFs.
    pub(crate) fn own_of_vif(&self, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        if name == "create" {
            return self.create_vif(arguments);
        }
        let vif: Ref<Vif> = arguments.reference(0)?;
        let record = self.objects.get(vif)?;
        match name {
            "destroy" => {
                self.objects.change(|change| {
                    let record = change.get(vif)?;
                    if record.currently_attached {
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
            "plug" => self.plug_vif(vif, &record),
            "unplug" | "unplug_force" => self.unplug_vif(vif, &record),
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

    fn plug_vif(&self, vif: Ref<Vif>, record: &Vif) -> Result<Value, Failure> {
        let worker = self.worker_of(record.vm)?;
        if record.currently_attached {
            return Err(Failure::new("DEVICE_ALREADY_ATTACHED", [vif.to_string()]).with_remedy("use it"));
        }
        let network = self.objects.get(record.network)?;
        let (nic, files) = parts::new_nic(record, &network)?;
        let mut nics = lock(&worker.nics);
        let answer = worker.ask(&Request::PlugNic(nic), &files.borrowed());
        if let Answer::Position(position) = answer.map_err(|error| codes::of_worker(&error))? {
            nics.insert(vif.uuid().unwrap_or_default(), position);
        }
        drop(nics);
        self.set_vif_attached(vif, true)
    }

    fn unplug_vif(&self, vif: Ref<Vif>, record: &Vif) -> Result<Value, Failure> {
        let worker = self.worker_of(record.vm)?;
        let position = lock(&worker.nics).get(&vif.uuid().unwrap_or_default()).copied();
        let detached =
            || Failure::new("DEVICE_ALREADY_DETACHED", [vif.to_string()]).with_remedy("nothing is left to do");
        let position = position.ok_or_else(detached)?;
        let timeout = milliseconds(UNPLUG);
        worker.ask(&Request::UnplugNic { position, timeout }, &[]).map_err(|error| rejected("VIF", vif, &error))?;
        lock(&worker.nics).remove(&vif.uuid().unwrap_or_default());
        self.set_vif_attached(vif, false)
    }

    fn set_vif_attached(&self, vif: Ref<Vif>, attached: bool) -> Result<Value, Failure> {
        self.later.make(&self.objects, move |change| {
            let Some(mut record) = change.find(vif)? else { return Ok(()) };
            record.currently_attached = attached;
            change.put(vif, &record)
        })?;
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
            let both = values::limit(&vif.qos_algorithm_type, &vif.qos_algorithm_params, "kbps")?;
            let limit = xvirt_core::config::NicLimit::none().receive(both).transmit(both);
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

/// Writes which devices a VM has.
pub(crate) fn set_attached(
    change: &mut crate::objects::Change<'_>,
    records: &Records,
    positions: &Positions,
) -> Result<(), Failure> {
    for (uuid, ..) in &records.disks {
        let vbd = Ref::<Vbd>::new(*uuid);
        if let Some(mut record) = change.find(vbd)? {
            record.currently_attached = positions.disks.contains_key(uuid);
            change.put(vbd, &record)?;
        }
    }
    for (uuid, ..) in &records.nics {
        let vif = Ref::<Vif>::new(*uuid);
        if let Some(mut record) = change.find(vif)? {
            record.currently_attached = positions.nics.contains_key(uuid);
            change.put(vif, &record)?;
        }
    }
    Ok(())
}

/// Whether a disk may get another VBD.
fn require_free(change: &mut crate::objects::Change<'_>, vdi: &Vdi, mode: VbdMode) -> Result<(), Failure> {
    if vdi.sharable || mode == VbdMode::Ro && vdi.read_only {
        return Ok(());
    }
    for other in &vdi.vbds {
        let other: Option<Vbd> = change.find(*other)?;
        if other.is_some_and(|other| other.currently_attached && (mode == VbdMode::Rw || other.mode == VbdMode::Rw)) {
            let reference = vdi.uuid.parse().map(Ref::<Vdi>::new).unwrap_or_default();
            return Err(Failure::new("VDI_IN_USE", [reference.to_string(), "attach".to_owned()])
                .with_remedy("unplug it from the other VM first"));
        }
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
