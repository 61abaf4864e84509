//! `xvirt vm create`: a VM with its disks and interfaces.

use serde_json::{Value, json};
use xvirt_pool::model::{Vbd, Vdi, Vif, Vm};

use crate::arguments::Create;
use crate::client::Client;
use crate::failure::Result;
use crate::name::reference;
use crate::objects::{new, repository, settings};
use crate::output::Output;
use crate::size::{LEAST_MEMORY, Size};

/// Creates a VM. If something fails, what was created is destroyed again.
pub async fn create(client: &Client, options: &Create, output: &Output) -> Result<()> {
    let repository = match options.disks.is_empty() {
        true => None,
        false => Some(repository(client, options.repository.as_deref()).await?),
    };
    let mut networks = Vec::new();
    for network in &options.networks {
        networks.push(reference(client, "network", network).await?);
    }
    let what = format!("cannot create the VM {:?}", options.name);
    let mut created = Vec::new();
    let done = all(client, options, repository.as_deref(), &networks, &mut created).await;
    match done {
        Ok(uuid) => output.print(&json!({ "uuid": uuid }), || format!("{uuid}\n")),
        Err(failure) => {
            for (class, reference) in created.into_iter().rev() {
                // The failure above is what matters.
                let _ = client.call(&format!("{class}.destroy"), vec![json!(reference)]).await;
            }
            Err(failure.doing(what))
        }
    }
}

/// Creates everything, and remembers what there is. Returns the UUID of the VM.
async fn all(
    client: &Client,
    options: &Create,
    repository: Option<&str>,
    networks: &[String],
    created: &mut Vec<(&'static str, String)>,
) -> Result<String> {
    let vm = remembered(client, "VM", settings::<Vm>(vm(options))?, created).await?;
    for (number, size) in options.disks.iter().enumerate() {
        let name = format!("{} {number}", options.name);
        let disk = json!({ "name_label": name, "SR": repository, "virtual_size": size.0 });
        let disk = remembered(client, "VDI", settings::<Vdi>(disk)?, created).await?;
        let place = json!({ "VM": vm, "VDI": disk, "userdevice": number.to_string(), "bootable": number == 0 });
        remembered(client, "VBD", settings::<Vbd>(place)?, created).await?;
    }
    for (number, network) in networks.iter().enumerate() {
        let place = json!({ "VM": vm, "network": network, "device": number.to_string() });
        remembered(client, "VIF", settings::<Vif>(place)?, created).await?;
    }
    let uuid = client.call("VM.get_uuid", vec![json!(vm)]).await?;
    Ok(uuid.as_str().unwrap_or_default().to_owned())
}

fn vm(options: &Create) -> Value {
    let Create { name, description, memory: Size(memory), vcpus, kernel, initrd, command_line, autostart, .. } =
        options;
    json!({
        "name_label": name,
        "name_description": description,
        "memory_static_min": memory.min(&LEAST_MEMORY),
        "memory_static_max": memory,
        "memory_dynamic_min": memory,
        "memory_dynamic_max": memory,
        "VCPUs_max": vcpus,
        "VCPUs_at_startup": vcpus,
        "PV_kernel": kernel.as_deref().unwrap_or_default(),
        "PV_ramdisk": initrd.as_deref().unwrap_or_default(),
        "PV_args": command_line,
        // What XenServer's tools set for it.
        "other_config": if *autostart { json!({ "auto_poweron": "true" }) } else { json!({}) },
    })
}

/// Creates an object, and remembers it.
async fn remembered(
    client: &Client,
    class: &'static str,
    settings: Value,
    created: &mut Vec<(&'static str, String)>,
) -> Result<String> {
    let reference = new(client, class, settings).await?;
    created.push((class, reference.clone()));
    Ok(reference)
}
