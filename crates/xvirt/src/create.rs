//! `xvirt vm create`: a VM with its disks and interfaces.

use serde_json::{Map, Value, json};
use xvirt_pool::model::{Qualifier, Record, Vbd, Vdi, Vif, Vm};

use crate::arguments::Create;
use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::name::reference;
use crate::output::Output;
use crate::size::Size;

/// Bytes below which no balloon takes memory from a guest.
const LEAST_MEMORY: u64 = 2 << 20;

/// Creates a VM. If something fails, what was created is destroyed again.
pub async fn create(client: &Client, options: &Create, output: &Output) -> Result<()> {
    let repository = repository(client, options).await?;
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
    let vm = new(client, "VM", settings::<Vm>(vm(options))?, created).await?;
    for (number, size) in options.disks.iter().enumerate() {
        let name = format!("{} {number}", options.name);
        let disk = json!({ "name_label": name, "SR": repository, "virtual_size": size.0 });
        let disk = new(client, "VDI", settings::<Vdi>(disk)?, created).await?;
        let place = json!({ "VM": vm, "VDI": disk, "userdevice": number.to_string(), "bootable": number == 0 });
        new(client, "VBD", settings::<Vbd>(place)?, created).await?;
    }
    for (number, network) in networks.iter().enumerate() {
        let place = json!({ "VM": vm, "network": network, "device": number.to_string() });
        new(client, "VIF", settings::<Vif>(place)?, created).await?;
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

/// The repository for the disks: the one that was named, or the pool's.
async fn repository(client: &Client, options: &Create) -> Result<Option<String>> {
    if options.disks.is_empty() {
        return Ok(None);
    }
    if let Some(name) = &options.repository {
        return reference(client, "SR", name).await.map(Some);
    }
    let pools = client.call("pool.get_all", Vec::new()).await?;
    let pool = pools.get(0).cloned().unwrap_or_default();
    let default = client.call("pool.get_default_SR", vec![pool]).await?;
    match default.as_str() {
        Some(reference) if !reference.ends_with("NULL") => Ok(Some(reference.to_owned())),
        _ => Err(Failure::new("cannot make disks", "the pool has no default repository; name one with --repository")),
    }
}

/// Creates an object, and remembers it.
async fn new(
    client: &Client,
    class: &'static str,
    settings: Value,
    created: &mut Vec<(&'static str, String)>,
) -> Result<String> {
    let reference = client.call(&format!("{class}.create"), vec![settings]).await?;
    let Some(reference) = reference.as_str() else {
        return Err(Failure::new(
            format!("{class}.create"),
            "it returned no reference; use the same version on both sides",
        ));
    };
    created.push((class, reference.to_owned()));
    Ok(reference.to_owned())
}

/// What an object is created with: these fields, and the defaults of the others that are given then.
fn settings<R: Record>(fields: Value) -> Result<Value> {
    let record = R::from_value(fields).map_err(|error| Failure::new("cannot create this", error))?;
    let record = serde_json::to_value(record).map_err(|error| Failure::new("cannot make a record", error))?;
    let given = |name: &str| R::TABLE.field(name).is_some_and(|field| field.qualifier != Qualifier::DynamicRo);
    let Value::Object(fields) = record else { return Ok(record) };
    Ok(Value::Object(fields.into_iter().filter(|(name, _)| given(name)).collect::<Map<_, _>>()))
}
