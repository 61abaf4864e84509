//! The verbs that only change records: each is one transaction.

use serde_json::{Value, json};
use uuid::Uuid;
use xvirt_worker::protocol::Request;

use super::calls::uuid_of;
use super::owner::Owner;
use super::{Inner, setters, slot};
use crate::model::{
    Call, Class, ClassTable, Host, Network, Record, Ref, Vbd, Vdi, Vif, Vm, VmOperations, VmPowerState,
};
use crate::objects::Change;
use crate::operation::arguments::{Arguments, require_small};
use crate::operation::{Failure, accessor, codes, create, power};
use crate::sync::lock;
use crate::task::Running;

/// The setters of VMs that are verbs of their own: the field, and whether the VM must be halted.
const VM_SETTERS: [(&str, &str, bool); 12] = [
    ("set_VCPUs_at_startup", "VCPUs_at_startup", true),
    ("set_VCPUs_max", "VCPUs_max", true),
    ("set_actions_after_crash", "actions_after_crash", false),
    ("set_blocked_operations", "blocked_operations", false),
    ("set_domain_type", "domain_type", true),
    ("set_memory_dynamic_max", "memory_dynamic_max", false),
    ("set_memory_dynamic_min", "memory_dynamic_min", false),
    ("set_memory_static_max", "memory_static_max", true),
    ("set_memory_static_min", "memory_static_min", true),
    ("set_other_config", "other_config", false),
    ("set_platform", "platform", false),
    ("set_bios_strings", "bios_strings", true),
];

/// How many devices are removed in one transaction, each from what it connects the VM to as well.
const FORGOTTEN_AT_ONCE: usize = 40;

/// Maps of VMs whose entries have verbs of their own.
const VM_MAPS: [&str; 3] = ["other_config", "platform", "blocked_operations"];

impl Inner {
    /// `VM.create`.
    pub(crate) fn create_vm(&self, arguments: &Arguments) -> Result<Value, Failure> {
        let given: Vm = arguments.record(0)?;
        let uuid = Uuid::new_v4();
        let record = create::vm(given, uuid, Uuid::new_v4())?;
        let reference = Ref::<Vm>::new(uuid);
        self.objects.change(|change| {
            let mut record = record.clone();
            setters::require_objects(change, Vm::TABLE, &record.to_value()?)?;
            slot::put(change, reference, &mut record)?;
            change.put_beside(&Owner::key(reference), &Owner::default())
        })?;
        Ok(json!(reference.to_string()))
    }

    /// `VM.destroy`: with its VBDs and VIFs, but not with its disks, as XenServer has it.
    pub(crate) fn destroy_vm(&self, running: &Running, vm: Ref<Vm>) -> Result<Value, Failure> {
        let record = self.objects.get(vm)?;
        if record.is_default_template {
            return Err(Failure::new("VM_CANNOT_DELETE_DEFAULT_TEMPLATE", [vm.to_string()])
                .with_remedy("call VM.set_is_default_template with false first"));
        }
        if record.vbds.len() + record.vifs.len() <= FORGOTTEN_AT_ONCE {
            self.objects.change(|change| {
                power::require(&change.get(vm)?, vm, VmOperations::Destroy)?;
                forget_vm(change, vm)
            })?;
        } else {
            // Nobody starts it while it loses its devices.
            self.begin(running, vm, VmOperations::Destroy, |_, _| Ok(()))?;
            let outcome = self.forget_devices(vm).and_then(|()| self.objects.change(|change| forget_vm(change, vm)));
            let outcome = outcome.map(|()| Value::Null);
            let recorded = self.finish(running, vm, &outcome, |_, _, _| Ok(()));
            outcome.and(recorded)?;
        }
        if let Some(uuid) = vm.uuid() {
            // The log says nothing to anybody any more.
            let _ = std::fs::remove_file(crate::worker::launch::log_of(&self.options.logs(), uuid));
        }
        Ok(Value::Null)
    }

    /// Removes the devices of a VM that has more than a transaction can remove.
    fn forget_devices(&self, vm: Ref<Vm>) -> Result<(), Failure> {
        let some = |change: &mut Change<'_>| {
            let mut record = change.get(vm)?;
            let vbds = record.vbds.len().min(FORGOTTEN_AT_ONCE);
            let vifs = record.vifs.len().min(FORGOTTEN_AT_ONCE - vbds);
            record.vbds.drain(..vbds).try_for_each(|vbd| forget_vbd(change, vbd))?;
            record.vifs.drain(..vifs).try_for_each(|vif| forget_vif(change, vif))?;
            slot::put(change, vm, &mut record)?;
            Ok(!record.vbds.is_empty() || !record.vifs.is_empty())
        };
        while self.objects.change(some)? {}
        Ok(())
    }

    /// `set_`, `add_to_` and the like, of fields that any class has.
    pub(crate) fn set_field(
        &self,
        table: &'static ClassTable,
        call: Call,
        arguments: &Arguments,
    ) -> Result<Value, Failure> {
        let uuid = uuid_of(table, arguments)?;
        self.objects.change(|change| self.set_in(change, table, uuid, call, arguments))?;
        if self.worker(uuid).is_some() && changes(call, "VCPUs_params") {
            self.limit_cpu(uuid, &self.objects.get(Ref::<Vm>::new(uuid))?.vcpus_params);
        }
        if matches!(table.name, "VBD" | "VIF") {
            self.apply_limits(table, uuid)?;
        }
        Ok(Value::Null)
    }

    fn set_in(
        &self,
        change: &mut Change<'_>,
        table: &'static ClassTable,
        uuid: Uuid,
        call: Call,
        arguments: &Arguments,
    ) -> Result<(), Failure> {
        let invalid = || codes::handle_invalid(table.name, arguments.text(0));
        let Some(Value::Object(mut record)) = change.value(table, uuid)? else { return Err(invalid()) };
        if !accessor::set(&mut record, table, call, arguments)? {
            return Ok(());
        }
        setters::check(change, table, Ref::new(uuid), call, &mut record)?;
        let record = Value::Object(record);
        require_small(table, &record)?;
        create::check(table, &record)?;
        if table.name == Vm::TABLE.name {
            let mut record = Vm::from_value(record)?;
            return slot::put(change, Ref::new(uuid), &mut record);
        }
        change.put_value(table, uuid, &record)
    }

    /// The setters of a VM that are verbs of their own.
    pub(crate) fn set_of_vm(&self, vm: Ref<Vm>, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        let table = Vm::TABLE;
        if let Some((_, field, halted)) = VM_SETTERS.iter().find(|(setter, ..)| *setter == name) {
            return self.change_vm(vm, *halted, &[(field, arguments.value(1))]);
        }
        if let Some(map) = VM_MAPS.iter().find(|map| name.ends_with(*map)) {
            return self.set_map(table, name, map, arguments);
        }
        let fields: &[&str] = match name {
            "set_memory_limits" => {
                &["memory_static_min", "memory_static_max", "memory_dynamic_min", "memory_dynamic_max"]
            }
            "set_memory_static_range" => &["memory_static_min", "memory_static_max"],
            "set_memory_dynamic_range" => &["memory_dynamic_min", "memory_dynamic_max"],
            "set_memory" => {
                let value = arguments.value(1);
                let all = ["memory_static_max", "memory_dynamic_min", "memory_dynamic_max"];
                return self.change_vm(vm, true, &all.map(|field| (field, value.clone())));
            }
            _ => return Err(codes::not_implemented(&format!("VM.{name}"))),
        };
        let values: Vec<_> = fields.iter().enumerate().map(|(at, field)| (*field, arguments.value(at + 1))).collect();
        self.change_vm(vm, name != "set_memory_dynamic_range", &values)
    }

    fn change_vm(&self, vm: Ref<Vm>, halted: bool, values: &[(&str, Value)]) -> Result<Value, Failure> {
        let changed = |record: &Vm| {
            if halted && record.power_state != VmPowerState::Halted {
                return Err(power::bad_power_state(vm, &[VmPowerState::Halted], record.power_state));
            }
            if halted {
                power::require_idle(record, vm)?;
            }
            let mut new = record.to_value()?;
            for (name, value) in values {
                let Some(field) = Vm::TABLE.field(name) else { continue };
                new[*name] = Vm::TABLE.conform_set(field, value.clone())?;
            }
            create::check(Vm::TABLE, &new)?;
            Ok(Vm::from_value(new)?)
        };
        let before = self.objects.get(vm)?;
        let after = changed(&before)?;
        let worker = vm.uuid().and_then(|uuid| self.worker(uuid));
        let worker = worker.filter(|_| after.memory_dynamic_max != before.memory_dynamic_max);
        if let Some(worker) = &worker {
            // The guest first: a record that it does not follow would be wrong.
            let target = u64::try_from(after.memory_dynamic_max).unwrap_or(0);
            worker.ask(&Request::SetMemoryTarget { target }, &[]).map_err(|error| codes::of_worker(&error))?;
        }
        self.objects.change(|change| {
            let mut record = changed(&change.get(vm)?)?;
            if worker.is_some() {
                record.memory_target = record.memory_dynamic_max;
            }
            slot::put(change, vm, &mut record)
        })?;
        Ok(Value::Null)
    }

    /// `set_`, `add_to_` and `remove_from_` of a map that is not a client's by its table.
    pub(crate) fn set_map(
        &self,
        table: &'static ClassTable,
        name: &str,
        map: &str,
        arguments: &Arguments,
    ) -> Result<Value, Failure> {
        let field = table.field(map).ok_or_else(|| codes::not_implemented(name))?;
        let call = match name.strip_suffix(map) {
            Some("set_") => Call::Set(field),
            Some("add_to_") => Call::AddTo(field),
            Some("remove_from_") => Call::RemoveFrom(field),
            _ => return Err(codes::not_implemented(&format!("{}.{name}", table.name))),
        };
        self.set_field(table, call, arguments)
    }

    /// The verbs of networks.
    pub(crate) fn own_of_network(&self, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        match name {
            "create" => {
                let uuid = Uuid::new_v4();
                let record = create::network(arguments.record(0)?, uuid)?;
                self.objects.change(|change| change.put(Ref::new(uuid), &record))?;
                Ok(json!(Ref::<Network>::new(uuid).to_string()))
            }
            "destroy" => {
                let network: Ref<Network> = arguments.reference(0)?;
                self.objects.change(|change| {
                    let record = change.get(network)?;
                    if !record.vifs.is_empty() {
                        let vifs: Vec<String> = record.vifs.iter().map(ToString::to_string).collect();
                        return Err(Failure::new("NETWORK_CONTAINS_VIF", [vifs.join(", ")])
                            .with_remedy("destroy the network interfaces first"));
                    }
                    change.remove(network);
                    Ok(())
                })?;
                Ok(Value::Null)
            }
            _ => Err(codes::not_implemented(&format!("network.{name}"))),
        }
    }

    /// The verbs of hosts.
    pub(crate) fn own_of_host(&self, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        if name == "list_methods" {
            return Ok(crate::operation::answered::all().into());
        }
        let host: Ref<Host> = arguments.reference(0)?;
        if host != self.host {
            return Err(codes::handle_invalid("host", host));
        }
        let free = || i64::try_from(lock(&self.memory).available()).unwrap_or(i64::MAX);
        match name {
            "compute_free_memory" => Ok(json!(free())),
            #[cfg(feature = "xenapi")]
            "install_server_certificate" => {
                let (certificate, key, chain) = (arguments.text(1), arguments.text(2), arguments.text(3));
                crate::xenapi::install_certificate(&self.options.certificate(), &key, &certificate, &chain)?;
                Ok(Value::Null)
            }
            // The host's own time is in UTC, too.
            "get_servertime" | "get_server_localtime" => Ok(json!(self.now().to_string())),
            _ => Err(codes::not_implemented(&format!("host.{name}"))),
        }
    }
}

/// Whether a call changes this field.
fn changes(call: Call, name: &str) -> bool {
    match call {
        Call::Set(field) | Call::AddTo(field) | Call::RemoveFrom(field) => field.name == name,
        _ => false,
    }
}

/// Removes a VM with its devices.
fn forget_vm(change: &mut Change<'_>, vm: Ref<Vm>) -> Result<(), Failure> {
    let record = change.get(vm)?;
    record.vbds.iter().try_for_each(|vbd| forget_vbd(change, *vbd))?;
    record.vifs.iter().try_for_each(|vif| forget_vif(change, *vif))?;
    change.remove(vm);
    change.remove_beside(&Owner::key(vm));
    Ok(())
}

/// Removes a VBD, and its disk's knowledge of it.
pub(crate) fn forget_vbd(change: &mut Change<'_>, reference: Ref<Vbd>) -> Result<(), Failure> {
    if let Some(vbd) = change.find(reference)? {
        if let Some(mut vdi) = change.find::<Vdi>(vbd.vdi)? {
            vdi.vbds.retain(|one| *one != reference);
            change.put(vbd.vdi, &vdi)?;
        }
        change.remove(reference);
    }
    Ok(())
}

/// Removes a VIF, and its network's knowledge of it.
pub(crate) fn forget_vif(change: &mut Change<'_>, reference: Ref<Vif>) -> Result<(), Failure> {
    if let Some(vif) = change.find(reference)? {
        if let Some(mut network) = change.find::<Network>(vif.network)? {
            network.vifs.retain(|one| *one != reference);
            change.put(vif.network, &network)?;
        }
        change.remove(reference);
    }
    Ok(())
}
