//! What follows from a change of a record: what may be done with the objects around it, what is measured of a VM, and the
//! lists of a host. It is written in the same transaction, so that clients see it when they see the change.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Change, Object, parse, record_key};
use crate::model::{
    DateTime, DomainType, Host, Network, Pbd, Record, Ref, Sr, Vbd, Vdi, Vif, Vm, VmGuestMetrics, VmMetrics,
    VmPowerState,
};
use crate::operation::{Failure, allowed, values};

/// How many connections of a disk are looked at. Of a disc that more VMs share, nothing is offered.
const CONNECTIONS: usize = 16;
/// For how many of them the transaction depends on what they are: it has room for so many compares only.
const COMPARED: usize = 3;

/// The UUID of an object of which there is one for another object, so that it needs no search.
pub(crate) fn companion(of: Uuid, class: &str) -> Uuid {
    let digest: [u8; 32] = Sha256::new().chain_update(of).chain_update(class).finalize().into();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, digit)| *byte = digit);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The objects whose operations have to be looked at.
#[derive(Default)]
struct Around {
    vbds: BTreeSet<Ref<Vbd>>,
    vifs: BTreeSet<Ref<Vif>>,
    vdis: BTreeSet<Ref<Vdi>>,
}

impl Change<'_> {
    /// Writes what follows from what was written.
    pub(super) fn derive(&mut self, now: DateTime) -> Result<(), Failure> {
        let written: Vec<Object> = self.written.keys().filter_map(|key| Object::of_key(key)).collect();
        let mut around = Around::default();
        for object in written {
            let Some(table) = object.table() else { continue };
            match table.name {
                "VM" => self.derive_vm(Ref::new(object.uuid), now, &mut around)?,
                "PBD" => self.derive_pbd(Ref::new(object.uuid))?,
                "SR" => self.update(Ref::<Sr>::new(object.uuid), |sr| sr.allowed_operations = allowed::sr(sr))?,
                "network" => self.update(Ref::<Network>::new(object.uuid), |network| {
                    network.allowed_operations = allowed::NETWORK.to_vec();
                })?,
                "VBD" => drop(around.vbds.insert(Ref::new(object.uuid))),
                "VIF" => drop(around.vifs.insert(Ref::new(object.uuid))),
                "VDI" => drop(around.vdis.insert(Ref::new(object.uuid))),
                _ => {}
            }
        }
        for reference in std::mem::take(&mut around.vbds) {
            let Some(vbd) = self.find(reference)? else { continue };
            let state = self.state_of(vbd.vm)?;
            self.update(reference, |vbd| vbd.allowed_operations = allowed::vbd(vbd, state))?;
            around.vdis.insert(vbd.vdi);
        }
        for reference in around.vifs {
            let Some(vif) = self.find(reference)? else { continue };
            let state = self.state_of(vif.vm)?;
            self.update(reference, |vif| vif.allowed_operations = allowed::vif(vif, state))?;
        }
        for reference in around.vdis {
            self.derive_vdi(reference)?;
        }
        Ok(())
    }

    /// Changes a record, if there is one.
    fn update<R: Record>(&mut self, reference: Ref<R>, change: impl FnOnce(&mut R)) -> Result<(), Failure> {
        let Some(mut record) = self.find(reference)? else { return Ok(()) };
        change(&mut record);
        self.put(reference, &record)
    }

    /// The record that an object has in the store.
    fn original<R: Record>(&mut self, reference: Ref<R>) -> Result<Option<R>, Failure> {
        let Some(uuid) = reference.uuid() else { return Ok(None) };
        let key = record_key(R::TABLE, uuid);
        self.read(&key)?;
        let Some(Some((value, _))) = self.read.get(&key) else { return Ok(None) };
        Ok(Some(R::from_value(parse(&key, value)?)?))
    }

    /// The record of an object, which may change before this is committed.
    fn glance<R: Record>(&mut self, reference: Ref<R>) -> Result<Option<R>, Failure> {
        let Some(uuid) = reference.uuid() else { return Ok(None) };
        let key = record_key(R::TABLE, uuid);
        if self.read.contains_key(&key) || self.written.contains_key(&key) {
            return self.find(reference);
        }
        let pair = self.store.get(&key, None)?;
        pair.map(|pair| Ok(R::from_value(parse(&key, &pair.value)?)?)).transpose()
    }

    fn state_of(&mut self, vm: Ref<Vm>) -> Result<VmPowerState, Failure> {
        Ok(self.find(vm)?.map_or(VmPowerState::Halted, |vm| vm.power_state))
    }

    fn derive_vm(&mut self, reference: Ref<Vm>, now: DateTime, around: &mut Around) -> Result<(), Failure> {
        let (before, after) = (self.original(reference)?, self.find(reference)?);
        self.derive_residence(reference, before.as_ref(), after.as_ref())?;
        let Some(mut vm) = after else {
            let gone = before.unwrap_or_default();
            self.remove(gone.metrics);
            self.remove(gone.guest_metrics);
            return Ok(());
        };
        if before.as_ref().is_none_or(|before| before.power_state != vm.power_state) {
            around.vbds.extend(&vm.vbds);
            around.vifs.extend(&vm.vifs);
        }
        let run = |vm: &Vm| (vm.domid, in_memory(vm), vm.memory_target);
        let new_run = before.as_ref().is_none_or(|before| before.domid != vm.domid) && vm.domid >= 0;
        if vm.metrics.is_null() || before.as_ref().is_none_or(|before| run(before) != run(&vm)) {
            self.measure(reference, &mut vm, new_run, now)?;
            self.put(reference, &vm)?;
        }
        Ok(())
    }

    /// Writes what is measured of a VM whose run has begun, changed or ended.
    fn measure(&mut self, reference: Ref<Vm>, vm: &mut Vm, new_run: bool, now: DateTime) -> Result<(), Failure> {
        let uuid = reference.uuid().unwrap_or_default();
        if vm.metrics.is_null() {
            vm.metrics = Ref::new(companion(uuid, "VM_metrics"));
        }
        let runs = in_memory(vm);
        let mut metrics = self.find(vm.metrics)?.unwrap_or_else(|| VmMetrics {
            uuid: vm.metrics.uuid().unwrap_or_default().to_string(),
            install_time: now,
            ..VmMetrics::default()
        });
        metrics.memory_actual = if runs { vm.memory_target } else { 0 };
        metrics.vcpus_number = if runs { vm.vcpus_at_startup } else { 0 };
        metrics.hvm = runs;
        metrics.current_domain_type = if runs { DomainType::Hvm } else { DomainType::Unspecified };
        metrics.last_updated = now;
        if new_run {
            metrics.start_time = now;
            // As XenServer has it: empty at first, and kept when the VM is halted.
            vm.guest_metrics = Ref::new(companion(uuid, "VM_guest_metrics"));
            let guest = VmGuestMetrics {
                uuid: vm.guest_metrics.uuid().unwrap_or_default().to_string(),
                last_updated: now,
                ..VmGuestMetrics::default()
            };
            self.put(vm.guest_metrics, &guest)?;
        }
        self.put(vm.metrics, &metrics)
    }

    /// Writes which host a VM is on, and what memory that leaves.
    fn derive_residence(&mut self, vm: Ref<Vm>, before: Option<&Vm>, after: Option<&Vm>) -> Result<(), Failure> {
        let host = |vm: Option<&Vm>| vm.map_or(Ref::NULL, |vm| vm.resident_on);
        if host(before) == host(after) {
            return Ok(());
        }
        let sides = [(host(before), before, false), (host(after), after, true)];
        for (host, record, comes) in sides {
            let bytes = record.map_or(0, |vm| values::host_memory(vm.memory_static_max));
            let mut metrics = Ref::NULL;
            self.update::<Host>(host, |host| {
                metrics = host.metrics;
                host.resident_vms.retain(|one| *one != vm);
                if comes {
                    host.resident_vms.push(vm);
                }
            })?;
            self.update(metrics, |metrics: &mut crate::model::HostMetrics| {
                metrics.memory_free += if comes { -bytes } else { bytes };
            })?;
        }
        Ok(())
    }

    fn derive_pbd(&mut self, reference: Ref<Pbd>) -> Result<(), Failure> {
        let (before, after) = (self.original(reference)?, self.find(reference)?);
        let host = |pbd: Option<Pbd>| pbd.map_or(Ref::NULL, |pbd| pbd.host);
        let (before, after) = (host(before), host(after));
        if before != after {
            self.update::<Host>(before, |host| host.pbds.retain(|one| *one != reference))?;
            self.update::<Host>(after, |host| {
                host.pbds.retain(|one| *one != reference);
                host.pbds.push(reference);
            })?;
        }
        Ok(())
    }

    fn derive_vdi(&mut self, reference: Ref<Vdi>) -> Result<(), Failure> {
        let Some(vdi) = self.find(reference)? else { return Ok(()) };
        let known = vdi.vbds.len() <= CONNECTIONS;
        let mut attached = false;
        for vbd in vdi.vbds.iter().take(CONNECTIONS) {
            let found = if vdi.vbds.len() <= COMPARED { self.find(*vbd)? } else { self.glance(*vbd)? };
            attached |= found.is_some_and(|vbd: Vbd| vbd.currently_attached);
        }
        self.update(reference, |vdi| {
            vdi.allowed_operations = if known { allowed::vdi(vdi, attached) } else { Vec::new() };
        })
    }
}

fn in_memory(vm: &Vm) -> bool {
    matches!(vm.power_state, VmPowerState::Running | VmPowerState::Paused)
}

#[cfg(all(test, feature = "simulation"))]
mod tests;
