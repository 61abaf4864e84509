//! Attaches and detaches devices of VMs: VBDs and VIFs.

use serde_json::{Value, json};
use xvirt_pool::model::Vm;

use crate::client::Client;
use crate::failure::Result;
use crate::follow;
use crate::objects::new;
use crate::vms::in_memory;

/// Creates a device of a VM, which gets it at once if it runs. Returns its reference.
pub async fn attach(client: &Client, class: &str, settings: Value, vm: &Vm, what: &str) -> Result<String> {
    let created = new(client, class, settings).await;
    let device = created.map_err(|failure| failure.doing(format!("cannot {what}")))?;
    if in_memory(vm)
        && let Err(failure) = follow::verb(client, &format!("{class}.plug"), vec![json!(device)], what).await
    {
        // The failure above is what matters.
        let _ = client.call(&format!("{class}.destroy"), vec![json!(device)]).await;
        return Err(failure);
    }
    Ok(device)
}

/// Removes a device from its VM, which is asked to let go of it if it has it.
pub async fn detach(client: &Client, class: &str, device: &str, attached: bool, what: &str) -> Result<()> {
    if attached {
        follow::verb(client, &format!("{class}.unplug"), vec![json!(device)], what).await?;
    }
    let destroyed = client.call(&format!("{class}.destroy"), vec![json!(device)]).await;
    destroyed.map(drop).map_err(|failure| failure.doing(format!("cannot {what}")))
}
