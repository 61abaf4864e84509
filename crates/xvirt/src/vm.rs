//! The verbs of VMs.

use std::time::Duration;

use serde_json::{Value, json};
use xvirt_pool::model::{Vbd, Vm, VmPowerState};

use crate::arguments::{OneVm, VmVerb};
use crate::client::Client;
use crate::failure::Result;
use crate::name::{self, Found, read};
use crate::output::{Output, lines, table};
use crate::size::Size;
use crate::vms::{all as all_vms, shown};
use crate::{all, console, create, follow, settings, upgrade};

/// How long guests may take to shut down when all are asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does what was asked.
pub async fn run(client: &Client, verb: VmVerb, output: &Output) -> Result<()> {
    match verb {
        VmVerb::List => list(client, output).await,
        VmVerb::Show(OneVm { vm }) => show(client, &vm, output).await,
        VmVerb::Create(options) => create::create(client, &options, output).await,
        VmVerb::Set { vm: OneVm { vm }, changes } => settings::set(client, &vm, &changes, output).await,
        VmVerb::Clone { vm: OneVm { vm }, name } => clone(client, &name::vm(client, &vm).await?, &name, output).await,
        VmVerb::Start { vm: OneVm { vm }, paused, console: attach } => {
            let found = name::vm(client, &vm).await?;
            change(client, &found, "VM.start", vec![json!(paused), json!(false)], "start", output).await?;
            if attach { console::attach(client, &found).await } else { Ok(()) }
        }
        VmVerb::Console(OneVm { vm }) => console::attach(client, &name::vm(client, &vm).await?).await,
        VmVerb::Shutdown { vm: Some(vm), .. } => {
            simple(client, OneVm { vm }, "VM.clean_shutdown", "shut down", output).await
        }
        VmVerb::Shutdown { vm: None, patience, .. } => {
            all::shut_down(client, patience.map_or(PATIENCE, Duration::from_secs), output).await
        }
        VmVerb::Stop(vm) => simple(client, vm, "VM.hard_shutdown", "stop", output).await,
        VmVerb::Reboot { vm, hard: false } => simple(client, vm, "VM.clean_reboot", "reboot", output).await,
        VmVerb::Reboot { vm, hard: true } => simple(client, vm, "VM.hard_reboot", "reset", output).await,
        VmVerb::Pause(vm) => simple(client, vm, "VM.pause", "pause", output).await,
        VmVerb::Unpause(vm) => simple(client, vm, "VM.unpause", "unpause", output).await,
        VmVerb::Suspend(vm) => simple(client, vm, "VM.suspend", "suspend", output).await,
        VmVerb::Resume(OneVm { vm }) => {
            let found = name::vm(client, &vm).await?;
            change(client, &found, "VM.resume", vec![json!(false), json!(false)], "resume", output).await
        }
        VmVerb::UpgradeWorker { vm: Some(vm), .. } => {
            upgrade::one(client, &name::vm(client, &vm).await?.record, output).await
        }
        VmVerb::UpgradeWorker { vm: None, .. } => upgrade::all(client, output).await,
        VmVerb::Destroy { vm: OneVm { vm }, keep_disks } => {
            destroy(client, &name::vm(client, &vm).await?, keep_disks, output).await
        }
    }
}

async fn simple(client: &Client, vm: OneVm, verb: &str, what: &str, output: &Output) -> Result<()> {
    change(client, &name::vm(client, &vm.vm).await?, verb, Vec::new(), what, output).await
}

/// Calls a verb of a VM, and waits for its end.
async fn change(client: &Client, vm: &Found, verb: &str, more: Vec<Value>, what: &str, output: &Output) -> Result<()> {
    let Found { reference, record } = vm;
    let what = format!("{what} {}", shown(record));
    let parameters = std::iter::once(json!(reference)).chain(more).collect();
    follow::verb(client, verb, parameters, &what).await?;
    let state = client.call("VM.get_power_state", vec![json!(reference)]).await;
    // It may be gone already, if others use this host too.
    let state = state.ok().and_then(|state| state.as_str().map(str::to_owned)).unwrap_or_default();
    output.print(&json!({ "uuid": record.uuid, "power_state": state }), String::new)
}

async fn list(client: &Client, output: &Output) -> Result<()> {
    let mut vms = all_vms(client).await?;
    vms.sort_by(|(one, _), (other, _)| (&one.name_label, &one.uuid).cmp(&(&other.name_label, &other.uuid)));
    let (vms, records): (Vec<Vm>, Vec<Value>) = vms.into_iter().unzip();
    output.print(&records, || {
        let rows = vms.iter().map(|vm| {
            let memory = Size(u64::try_from(vm.memory_static_max).unwrap_or(0)).to_string();
            vec![
                vm.name_label.clone(),
                vm.power_state.to_string(),
                vm.vcpus_at_startup.to_string(),
                memory,
                vm.xvirt_worker_version.clone(),
                vm.uuid.clone(),
            ]
        });
        table(&["NAME", "STATE", "VCPUS", "MEMORY", "WORKER", "UUID"], &rows.collect::<Vec<_>>())
    })
}

async fn show(client: &Client, vm: &str, output: &Output) -> Result<()> {
    let Found { reference, record } = name::vm(client, vm).await?;
    if output.json {
        let record = client.call("VM.get_record", vec![json!(reference)]).await?;
        return output.print(&record, String::new);
    }
    let size = |bytes: i64| Size(u64::try_from(bytes).unwrap_or(0)).to_string();
    let operations: Vec<_> = record.current_operations.values().map(ToString::to_string).collect();
    let allowed: Vec<_> = record.allowed_operations.iter().map(ToString::to_string).collect();
    let autostart = record.other_config.get("auto_poweron").is_some_and(|value| value == "true");
    let text = lines(&[
        ("name", record.name_label),
        ("description", record.name_description),
        ("uuid", record.uuid),
        ("state", record.power_state.to_string()),
        ("vcpus", format!("{} of {}", record.vcpus_at_startup, record.vcpus_max)),
        ("memory", size(record.memory_static_max)),
        ("kernel", record.pv_kernel),
        ("initrd", record.pv_ramdisk),
        ("command line", record.pv_args),
        ("disks", record.vbds.len().to_string()),
        ("interfaces", record.vifs.len().to_string()),
        ("autostart", if autostart { "yes" } else { "no" }.to_owned()),
        ("worker", record.xvirt_worker_version),
        ("doing", operations.join(", ")),
        ("allowed", allowed.join(", ")),
    ]);
    output.print(&(), || text)
}

/// Copies a VM.
async fn clone(client: &Client, vm: &Found, name: &str, output: &Output) -> Result<()> {
    let what = format!("clone {}", shown(&vm.record));
    let task = follow::verb(client, "VM.clone", vec![json!(vm.reference), json!(name)], &what).await?;
    // The result of a task is text of XML-RPC.
    let reference = task.result.trim_start_matches("<value>").trim_end_matches("</value>");
    let uuid = client.call("VM.get_uuid", vec![json!(reference)]).await?;
    output.print(&json!({ "uuid": uuid }), || format!("{}\n", uuid.as_str().unwrap_or_default()))
}

/// Destroys a VM, and the disks that only it has.
async fn destroy(client: &Client, vm: &Found, keep_disks: bool, output: &Output) -> Result<()> {
    let Found { reference, record } = vm;
    let mut disks = Vec::new();
    // Whatever else it has, a VM that runs keeps its disks.
    if !keep_disks && record.power_state != VmPowerState::Running {
        for vbd in &record.vbds {
            let vbd: Vbd = read(client.call("VBD.get_record", vec![json!(vbd.to_string())]).await?)?;
            let only_here = || async {
                let users = client.call("VDI.get_VBDs", vec![json!(vbd.vdi.to_string())]).await?;
                Ok(users.as_array().is_some_and(|users| users.len() == 1))
            };
            if !vbd.vdi.is_null() && vbd.r#type == xvirt_pool::model::VbdType::Disk && only_here().await? {
                disks.push(vbd.vdi.to_string());
            }
        }
    }
    follow::verb(client, "VM.destroy", vec![json!(reference)], &format!("destroy {}", shown(record))).await?;
    for disk in &disks {
        let what = format!("destroy the disk {disk} of {}, which is gone", shown(record));
        follow::verb(client, "VDI.destroy", vec![json!(disk)], &what).await?;
    }
    output.print(&json!({ "uuid": record.uuid, "disks": disks }), String::new)
}
