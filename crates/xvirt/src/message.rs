//! `xvirt message list`: what happened that nobody asked for.

use clap::Subcommand;
use serde_json::{Value, json};
use xvirt_pool::model::{Message, Vm};

use crate::client::Client;
use crate::failure::Result;
use crate::objects::all;
use crate::output::{Output, table};
use crate::task::readable;

#[derive(Debug, Subcommand)]
pub enum MessageVerb {
    /// List the messages, the newest first: crashes of VMs, failed disks, and the like
    List,
    /// Remove all messages
    Clear,
}

/// Does what was asked.
pub async fn run(client: &Client, verb: MessageVerb, output: &Output) -> Result<()> {
    let mut messages = all::<Message>(client).await?;
    if let MessageVerb::Clear = verb {
        for (message, ..) in &messages {
            client.call("message.destroy", vec![json!(message)]).await?;
        }
        return output.print(&json!({ "removed": messages.len() }), String::new);
    }
    messages.sort_by(|(_, one, _), (_, other, _)| (other.timestamp, &one.uuid).cmp(&(one.timestamp, &other.uuid)));
    let vms = all::<Vm>(client).await?;
    let records: Vec<&Value> = messages.iter().map(|(_, _, record)| record).collect();
    output.print(&records, || {
        let rows = messages.iter().map(|(_, message, _)| {
            let about = vms.iter().find(|(_, vm, _)| vm.uuid == message.obj_uuid);
            let about = about.map_or_else(|| message.obj_uuid.clone(), |(_, vm, _)| vm.name_label.clone());
            vec![readable(message.timestamp), about, message.name.clone(), message.body.clone()]
        });
        table(&["TIME", "ABOUT", "NAME", "TEXT"], &rows.collect::<Vec<_>>())
    })
}
