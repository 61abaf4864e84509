//! The verbs of networks.

use clap::Subcommand;
use serde_json::{Value, json};
use xvirt_pool::model::Network;

use crate::client::Client;
use crate::failure::Result;
use crate::name::reference;
use crate::objects::{all, new, settings};
use crate::output::{Output, table};

#[derive(Debug, Subcommand)]
pub enum NetworkVerb {
    /// List the networks
    List,
    /// Create a network from a bridge of this host
    Create {
        /// Its name
        name: String,
        /// The name of the bridge
        #[arg(long)]
        bridge: String,
    },
    /// Destroy a network that no VM has; the bridge stays
    Destroy {
        /// The name or the UUID of the network
        network: String,
    },
}

/// Does what was asked.
pub async fn run(client: &Client, verb: NetworkVerb, output: &Output) -> Result<()> {
    match verb {
        NetworkVerb::List => list(client, output).await,
        NetworkVerb::Create { name, bridge } => {
            let fields = json!({ "name_label": name, "bridge": bridge });
            let created = new(client, "network", settings::<Network>(fields)?).await;
            let created = created.map_err(|failure| failure.doing(format!("cannot create the network {name:?}")))?;
            let uuid = client.call("network.get_uuid", vec![json!(created)]).await?;
            output.print(&json!({ "uuid": uuid }), || format!("{}\n", uuid.as_str().unwrap_or_default()))
        }
        NetworkVerb::Destroy { network } => {
            let found = reference(client, "network", &network).await?;
            let done = client.call("network.destroy", vec![json!(found)]).await;
            done.map_err(|failure| failure.doing(format!("cannot destroy the network {network:?}")))?;
            output.print(&json!({ "network": network }), String::new)
        }
    }
}

async fn list(client: &Client, output: &Output) -> Result<()> {
    let networks = all::<Network>(client).await?;
    let records: Vec<&Value> = networks.iter().map(|(_, _, record)| record).collect();
    output.print(&records, || {
        let rows = networks.iter().map(|(_, network, _)| {
            let (name, bridge) = (network.name_label.clone(), network.bridge.clone());
            vec![name, bridge, network.vifs.len().to_string(), network.uuid.clone()]
        });
        table(&["NAME", "BRIDGE", "INTERFACES", "UUID"], &rows.collect::<Vec<_>>())
    })
}
