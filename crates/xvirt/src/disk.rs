//! The verbs of disks.

use clap::Subcommand;
use serde_json::{Value, json};
use xvirt_pool::model::{Vbd, Vdi, VdiType, Vm};

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::name::{self, read, reference};
use crate::objects::{all, new, repository, settings};
use crate::output::{Output, table};
use crate::size::Size;
use crate::vms::shown;
use crate::{device, follow, limit};

#[derive(Debug, Subcommand)]
pub enum DiskVerb {
    /// List the disks
    List,
    /// Create an empty disk
    Create {
        /// Its name
        name: String,
        /// Its size, such as 8G
        #[arg(long, value_name = "SIZE")]
        size: Size,
        /// The format of its image
        #[arg(long, value_parser = ["raw", "qcow2"], default_value = "raw")]
        format: String,
        /// The name or UUID of its repository; by default that of the pool
        #[arg(long, value_name = "SR")]
        repository: Option<String>,
    },
    /// Attach a disk to a VM; one that runs gets it at once
    Attach {
        #[command(flatten)]
        place: Place,
        /// The guest cannot write to it
        #[arg(long)]
        read_only: bool,
        /// The VM boots from it
        #[arg(long)]
        bootable: bool,
    },
    /// Detach a disk from a VM; one that runs is asked to let go of it
    Detach(Place),
    /// Limit what a VM may do with a disk; without a limit, there is none any more
    Limit {
        #[command(flatten)]
        place: Place,
        /// Reads and writes a second
        #[arg(long, value_name = "N")]
        operations: Option<u64>,
        /// Bytes a second, such as 50M
        #[arg(long, value_name = "SIZE")]
        bytes: Option<Size>,
    },
    /// Make a disk larger, also while a VM runs with it
    Resize {
        /// The name or the UUID of the disk
        disk: String,
        /// Its new size
        size: Size,
    },
    /// Destroy a disk that no VM has
    Destroy {
        /// The name or the UUID of the disk
        disk: String,
    },
}

/// A disk in a VM.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The name or the UUID of the disk
    pub disk: String,
    /// The name or the UUID of the VM
    pub vm: String,
}

/// Does what was asked.
pub async fn run(client: &Client, verb: DiskVerb, output: &Output) -> Result<()> {
    match verb {
        DiskVerb::List => list(client, output).await,
        DiskVerb::Create { name, size, format, repository: named } => {
            let repository = repository(client, named.as_deref()).await?;
            let fields = json!({
                "name_label": name, "SR": repository, "virtual_size": size.0, "sm_config": { "image-format": format },
            });
            let created = new(client, "VDI", settings::<Vdi>(fields)?).await;
            let created = created.map_err(|failure| failure.doing(format!("cannot create the disk {name:?}")))?;
            let uuid = client.call("VDI.get_uuid", vec![json!(created)]).await?;
            output.print(&json!({ "uuid": uuid }), || format!("{}\n", uuid.as_str().unwrap_or_default()))
        }
        DiskVerb::Attach { place, read_only, bootable } => attach(client, &place, read_only, bootable, output).await,
        DiskVerb::Detach(place) => detach(client, &place, output).await,
        DiskVerb::Limit { place, operations, bytes } => {
            let (vbd, _) = find(client, &place).await?;
            let limits = [("operations_per_second", operations), ("bytes_per_second", bytes.map(|size| size.0))];
            limit::set(client, "VBD", &vbd, &limits).await?;
            output.print(&json!({ "disk": place.disk, "vm": place.vm }), String::new)
        }
        DiskVerb::Resize { disk, size } => {
            let vdi = reference(client, "VDI", &disk).await?;
            let what = format!("resize the disk {disk:?}");
            follow::verb(client, "VDI.resize", vec![json!(vdi), json!(size.0)], &what).await?;
            output.print(&json!({ "disk": disk, "size": size.0 }), String::new)
        }
        DiskVerb::Destroy { disk } => {
            let vdi = reference(client, "VDI", &disk).await?;
            follow::verb(client, "VDI.destroy", vec![json!(vdi)], &format!("destroy the disk {disk:?}")).await?;
            output.print(&json!({ "disk": disk }), String::new)
        }
    }
}

async fn list(client: &Client, output: &Output) -> Result<()> {
    let vbds = all::<Vbd>(client).await?;
    let vms = all::<Vm>(client).await?;
    let mut disks = all::<Vdi>(client).await?;
    disks.retain(|(_, disk, _)| disk.r#type == VdiType::User);
    disks.sort_by(|(_, one, _), (_, other, _)| (&one.name_label, &one.uuid).cmp(&(&other.name_label, &other.uuid)));
    let records: Vec<&Value> = disks.iter().map(|(_, _, record)| record).collect();
    output.print(&records, || {
        let rows = disks.iter().map(|(reference, disk, _)| {
            let of_disk = vbds.iter().filter(|(_, vbd, _)| vbd.vdi.to_string() == *reference);
            let names: Vec<&str> = of_disk
                .filter_map(|(_, vbd, _)| vms.iter().find(|(vm, ..)| vbd.vm.to_string() == *vm))
                .map(|(_, vm, _)| vm.name_label.as_str())
                .collect();
            let size = |bytes: i64| Size(u64::try_from(bytes).unwrap_or(0)).to_string();
            vec![
                disk.name_label.clone(),
                size(disk.virtual_size),
                size(disk.physical_utilisation),
                names.join(", "),
                disk.uuid.clone(),
            ]
        });
        table(&["NAME", "SIZE", "USED", "VMS", "UUID"], &rows.collect::<Vec<_>>())
    })
}

async fn attach(client: &Client, place: &Place, read_only: bool, bootable: bool, output: &Output) -> Result<()> {
    let vdi = reference(client, "VDI", &place.disk).await?;
    let vm = name::vm(client, &place.vm).await?;
    let fields = json!({
        "VM": vm.reference, "VDI": vdi, "userdevice": "autodetect", "bootable": bootable,
        "mode": if read_only { "RO" } else { "RW" },
    });
    let what = format!("attach the disk {:?} to {}", place.disk, shown(&vm.record));
    let vbd = device::attach(client, "VBD", settings::<Vbd>(fields)?, &vm.record, &what).await?;
    let position = client.call("VBD.get_userdevice", vec![json!(vbd)]).await?;
    output.print(&json!({ "disk": place.disk, "vm": vm.record.uuid, "position": position }), String::new)
}

async fn detach(client: &Client, place: &Place, output: &Output) -> Result<()> {
    let (reference, vbd) = find(client, place).await?;
    let what = format!("detach the disk {:?} from the VM {:?}", place.disk, place.vm);
    device::detach(client, "VBD", &reference, vbd.currently_attached, &what).await?;
    output.print(&json!({ "disk": place.disk, "vm": place.vm }), String::new)
}

/// The VBD of a disk in a VM.
async fn find(client: &Client, place: &Place) -> Result<(String, Vbd)> {
    let vdi = reference(client, "VDI", &place.disk).await?;
    let vm = name::vm(client, &place.vm).await?;
    for vbd in &vm.record.vbds {
        let record: Vbd = read(client.call("VBD.get_record", vec![json!(vbd.to_string())]).await?)?;
        if record.vdi.to_string() == vdi {
            return Ok((vbd.to_string(), record));
        }
    }
    let what = format!("cannot find the disk {:?} in {}", place.disk, shown(&vm.record));
    Err(Failure::not_found(what, "the VM does not have it; see `xvirt disk list`"))
}
