//! `xvirt vm upgrade-worker`: moves running VMs to the installed version of the program that runs them.

use std::collections::BTreeMap;

use serde_json::json;
use xvirt_pool::model::{Host, Vm, VmPowerState};

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::follow;
use crate::objects;
use crate::output::Output;
use crate::vms::{self, reference, shown};

/// Moves one VM.
pub async fn one(client: &Client, vm: &Vm, output: &Output) -> Result<()> {
    let reference = reference(vm)?;
    upgrade(client, vm, &reference).await?;
    let version = client.call("VM.get_xvirt_worker_version", vec![json!(reference)]).await.unwrap_or_default();
    output.print(&json!({ "uuid": vm.uuid, "worker": version }), String::new)
}

/// Moves all VMs that run another version than that of their host's service. Those that fail run on where they are.
///
/// # Errors
/// One cannot be moved; the others were tried nevertheless.
pub async fn all(client: &Client, output: &Output) -> Result<()> {
    let versions = versions(client).await?;
    let running = vms::all(client).await?.into_iter().map(|(vm, _)| vm);
    let running = running.filter(|vm| vm.power_state == VmPowerState::Running);
    let (current, old): (Vec<Vm>, Vec<Vm>) = running
        .partition(|vm| versions.get(&vm.resident_on.to_string()).is_some_and(|new| *new == vm.xvirt_worker_version));
    let (mut upgraded, mut failed) = (0, None::<Failure>);
    for vm in &old {
        match upgrade(client, vm, &reference(vm)?).await {
            Ok(()) => upgraded += 1,
            // It was shut down or paused meanwhile.
            Err(failure) if failure.code() == Some("VM_BAD_POWER_STATE") => {}
            Err(failure) if failure.code() == Some("TASK_CANCELLED") => return Err(failure),
            Err(failure) => {
                if let Some(earlier) = failed.replace(failure) {
                    earlier.report(output.json);
                }
            }
        }
    }
    match failed {
        Some(failure) => Err(failure),
        None => output.print(&json!({ "upgraded": upgraded, "current": current.len() }), String::new),
    }
}

async fn upgrade(client: &Client, vm: &Vm, reference: &str) -> Result<()> {
    let what = format!("upgrade the worker of {}", shown(vm));
    follow::verb(client, "VM.xvirt_upgrade_worker", vec![json!(reference)], &what).await.map(drop)
}

/// The versions of the hosts' services, by their references.
async fn versions(client: &Client) -> Result<BTreeMap<String, String>> {
    let hosts = objects::all::<Host>(client).await?.into_iter();
    let version = |host: &Host| host.software_version.get("xvirt").cloned().unwrap_or_default();
    Ok(hosts.map(|(reference, host, _)| (reference, version(&host))).collect())
}
