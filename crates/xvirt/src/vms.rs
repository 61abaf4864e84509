//! The VMs of a service.

use serde_json::Value;
use xvirt_pool::model::{Ref, Vm, VmPowerState};

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::objects;

/// A VM in messages.
pub fn shown(vm: &Vm) -> String {
    if vm.name_label.is_empty() { format!("the VM {}", vm.uuid) } else { format!("the VM {:?}", vm.name_label) }
}

/// The reference of a VM.
pub fn reference(vm: &Vm) -> Result<String> {
    let uuid = vm.uuid.parse().map_err(|error| Failure::new("cannot understand the UUID of a VM", error))?;
    Ok(Ref::<Vm>::new(uuid).to_string())
}

/// Whether a VM runs or is paused, so that its devices come and go at once.
pub fn in_memory(vm: &Vm) -> bool {
    matches!(vm.power_state, VmPowerState::Running | VmPowerState::Paused)
}

/// All VMs, with their records as the service sent them; templates and snapshots are none.
pub async fn all(client: &Client) -> Result<Vec<(Vm, Value)>> {
    let mut vms: Vec<_> = objects::all(client).await?.into_iter().map(|(_, vm, record)| (vm, record)).collect();
    vms.retain(|(vm, _): &(Vm, Value)| !vm.is_a_template && !vm.is_a_snapshot && !vm.is_control_domain);
    Ok(vms)
}
