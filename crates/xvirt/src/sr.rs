//! The verbs of repositories of disks.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use xvirt_pool::model::Sr;

use crate::client::Client;
use crate::failure::Result;
use crate::name::reference;
use crate::objects::all;
use crate::output::{Output, table};
use crate::size::Size;

#[derive(Debug, Subcommand)]
pub enum SrVerb {
    /// List the repositories
    List,
    /// Make a repository in a folder of this host
    Create {
        /// Its name
        name: String,
        /// The absolute path of the folder, which is created if it is absent
        folder: PathBuf,
    },
    /// Forget a repository without disks; its folder stays
    Forget {
        /// The name or the UUID of the repository
        repository: String,
    },
}

/// Does what was asked.
pub async fn run(client: &Client, verb: SrVerb, output: &Output) -> Result<()> {
    match verb {
        SrVerb::List => list(client, output).await,
        SrVerb::Create { name, folder } => create(client, &name, &folder.to_string_lossy(), output).await,
        SrVerb::Forget { repository } => {
            let sr = reference(client, "SR", &repository).await?;
            let done = client.call("SR.forget", vec![json!(sr)]).await;
            done.map_err(|failure| failure.doing(format!("cannot forget the repository {repository:?}")))?;
            output.print(&json!({ "repository": repository }), String::new)
        }
    }
}

async fn list(client: &Client, output: &Output) -> Result<()> {
    for (sr, ..) in all::<Sr>(client).await? {
        // Measures it. What is known of one whose folder is gone is shown nevertheless.
        let _ = client.call("SR.scan", vec![json!(sr)]).await;
    }
    let repositories = all::<Sr>(client).await?;
    let records: Vec<&Value> = repositories.iter().map(|(_, _, record)| record).collect();
    output.print(&records, || {
        let rows = repositories.iter().map(|(_, sr, _)| {
            let size = |bytes: i64| Size(u64::try_from(bytes).unwrap_or(0)).to_string();
            let (used, all) = (size(sr.physical_utilisation), size(sr.physical_size));
            vec![sr.name_label.clone(), used, all, sr.vdis.len().to_string(), sr.uuid.clone()]
        });
        table(&["NAME", "USED", "SIZE", "DISKS", "UUID"], &rows.collect::<Vec<_>>())
    })
}

async fn create(client: &Client, name: &str, folder: &str, output: &Output) -> Result<()> {
    let hosts = client.call("host.get_all", Vec::new()).await?;
    let host = hosts.get(0).cloned().unwrap_or_default();
    let nothing = json!({});
    let parameters = vec![
        host,
        json!({ "location": folder }),
        json!(0),
        json!(name),
        json!(""),
        json!("file"),
        json!("user"),
        json!(false),
        nothing,
    ];
    let created = client.call("SR.create", parameters).await;
    let created = created.map_err(|failure| failure.doing(format!("cannot make the repository {name:?}")))?;
    let uuid = client.call("SR.get_uuid", vec![created]).await?;
    output.print(&json!({ "uuid": uuid }), || format!("{}\n", uuid.as_str().unwrap_or_default()))
}
