//! The verbs of network interfaces, which are given by their VM and their number in it.

use clap::Subcommand;
use serde_json::{Value, json};
use xvirt_pool::model::{Network, Vif};

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::name::{self, Found, read, reference};
use crate::objects::settings;
use crate::output::{Output, table};
use crate::size::Size;
use crate::vms::shown;
use crate::{device, limit};

#[derive(Debug, Subcommand)]
pub enum NicVerb {
    /// List the network interfaces of a VM
    List {
        /// The name or the UUID of the VM
        vm: String,
    },
    /// Attach a network interface to a VM; one that runs gets it at once
    Attach {
        /// The name or the UUID of the VM
        vm: String,
        /// The name or the UUID of the network
        network: String,
        /// Its MAC address; by default one is generated
        #[arg(long, default_value = "", hide_default_value = true)]
        mac: String,
    },
    /// Detach a network interface from a VM; one that runs is asked to let go of it
    Detach {
        #[command(flatten)]
        place: Place,
    },
    /// Limit the rate of a network interface, each way; without a limit, there is none any more
    Limit {
        #[command(flatten)]
        place: Place,
        /// Bytes a second, such as 10M
        #[arg(long, value_name = "SIZE")]
        bytes: Option<Size>,
    },
}

/// A network interface of a VM.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The name or the UUID of the VM
    pub vm: String,
    /// The number of the interface: see `xvirt nic list`
    pub number: u32,
}

/// Does what was asked.
pub async fn run(client: &Client, verb: NicVerb, output: &Output) -> Result<()> {
    match verb {
        NicVerb::List { vm } => list(client, &name::vm(client, &vm).await?, output).await,
        NicVerb::Attach { vm, network, mac } => attach(client, &vm, &network, &mac, output).await,
        NicVerb::Detach { place } => detach(client, &place, output).await,
        NicVerb::Limit { place, bytes } => {
            let (vif, _) = find(client, &place).await?;
            limit::set(client, "VIF", &vif, &[("bytes_per_second", bytes.map(|size| size.0))]).await?;
            output.print(&json!({ "vm": place.vm, "number": place.number }), String::new)
        }
    }
}

async fn list(client: &Client, vm: &Found, output: &Output) -> Result<()> {
    let (mut records, mut rows) = (Vec::new(), Vec::new());
    for (_, vif, record) in all(client, vm).await? {
        let network = client.call("network.get_record", vec![json!(vif.network.to_string())]).await?;
        let network: Network = read(network)?;
        let attached = if vif.currently_attached { "yes" } else { "no" };
        rows.push(vec![vif.device, network.name_label, vif.mac, attached.to_owned(), vif.uuid]);
        records.push(record);
    }
    output.print(&records, || table(&["NUMBER", "NETWORK", "MAC", "ATTACHED", "UUID"], &rows))
}

async fn attach(client: &Client, vm: &str, network: &str, mac: &str, output: &Output) -> Result<()> {
    let vm = name::vm(client, vm).await?;
    let found = reference(client, "network", network).await?;
    let fields = json!({ "VM": vm.reference, "network": found, "device": "autodetect", "MAC": mac });
    let what = format!("attach the network {network:?} to {}", shown(&vm.record));
    let vif = device::attach(client, "VIF", settings::<Vif>(fields)?, &vm.record, &what).await?;
    let number = client.call("VIF.get_device", vec![json!(vif)]).await?;
    output.print(&json!({ "vm": vm.record.uuid, "number": number }), String::new)
}

async fn detach(client: &Client, place: &Place, output: &Output) -> Result<()> {
    let (reference, vif) = find(client, place).await?;
    let what = format!("detach the interface {} of the VM {:?}", place.number, place.vm);
    device::detach(client, "VIF", &reference, vif.currently_attached, &what).await?;
    output.print(&json!({ "vm": place.vm, "number": place.number }), String::new)
}

async fn find(client: &Client, place: &Place) -> Result<(String, Vif)> {
    let vm = name::vm(client, &place.vm).await?;
    let number = place.number.to_string();
    let found = all(client, &vm).await?.into_iter().find(|(_, vif, _)| vif.device == number);
    found.map(|(reference, vif, _)| (reference, vif)).ok_or_else(|| {
        let what = format!("cannot find the interface {number} of {}", shown(&vm.record));
        Failure::not_found(what, "it has none of this number; see `xvirt nic list`")
    })
}

/// The interfaces of a VM, by their numbers.
async fn all(client: &Client, vm: &Found) -> Result<Vec<(String, Vif, Value)>> {
    let mut vifs = Vec::new();
    for vif in &vm.record.vifs {
        let record = client.call("VIF.get_record", vec![json!(vif.to_string())]).await?;
        vifs.push((vif.to_string(), read::<Vif>(record.clone())?, record));
    }
    vifs.sort_by_key(|(_, vif, _)| vif.device.parse::<u32>().unwrap_or(u32::MAX));
    Ok(vifs)
}
