//! The VMs of a service.

use std::collections::BTreeMap;

use serde_json::Value;
use xvirt_pool::model::{Ref, Vm};

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::name::read;

/// A VM in messages.
pub fn shown(vm: &Vm) -> String {
    if vm.name_label.is_empty() { format!("the VM {}", vm.uuid) } else { format!("the VM {:?}", vm.name_label) }
}

/// The reference of a VM.
pub fn reference(vm: &Vm) -> Result<String> {
    let uuid = vm.uuid.parse().map_err(|error| Failure::new("cannot understand the UUID of a VM", error))?;
    Ok(Ref::<Vm>::new(uuid).to_string())
}

/// All VMs, with their records as the service sent them; templates and snapshots are none.
pub async fn all(client: &Client) -> Result<Vec<(Vm, Value)>> {
    let records = client.call("VM.get_all_records", Vec::new()).await?;
    let records: BTreeMap<String, Value> =
        serde_json::from_value(records).map_err(|error| Failure::new("cannot understand the list of VMs", error))?;
    let read_all = records.into_values().map(|record| Ok((read::<Vm>(record.clone())?, record)));
    let mut vms: Vec<(Vm, Value)> = read_all.collect::<Result<_>>()?;
    vms.retain(|(vm, _)| !vm.is_a_template && !vm.is_a_snapshot && !vm.is_control_domain);
    Ok(vms)
}
