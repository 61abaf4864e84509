//! `xvirt vm shutdown --all`: what the host does with its VMs before it goes down.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use xvirt_pool::model::Vm;

use crate::client::Client;
use crate::failure::Result;
use crate::output::Output;
use crate::vms::{all, in_memory, reference, shown};

/// How long the pauses between two looks at the VMs are.
const PAUSE: Duration = Duration::from_millis(250);

/// Asks all guests to shut down, and stops those that have not after a while.
///
/// # Errors
/// A VM cannot be stopped.
pub async fn shut_down(client: &Client, patience: Duration, output: &Output) -> Result<()> {
    let until = Instant::now() + patience;
    let running = up(client).await?;
    for vm in &running {
        // A paused guest does not hear it; one that cannot be asked is stopped below.
        let _ = client.call("Async.VM.clean_shutdown", vec![json!(reference(vm)?)]).await;
    }
    while Instant::now() < until && !up(client).await?.is_empty() {
        sleep(PAUSE).await;
    }
    let mut failed = None;
    let late = up(client).await?;
    for vm in &late {
        match client.call("VM.hard_shutdown", vec![json!(reference(vm)?)]).await {
            Ok(_) => {}
            // It has halted meanwhile.
            Err(failure) if failure.code() == Some("VM_BAD_POWER_STATE") => {}
            Err(failure) => failed = Some(failure.doing(format!("cannot stop {}", shown(vm)))),
        }
    }
    match failed {
        Some(failure) => Err(failure),
        None => output.print(&json!({ "shut_down": running.len(), "of_these_stopped": late.len() }), String::new),
    }
}

async fn up(client: &Client) -> Result<Vec<Vm>> {
    let vms = all(client).await?.into_iter().map(|(vm, _)| vm);
    Ok(vms.filter(in_memory).collect())
}
