//! `xvirt host show`.

use serde_json::json;
use xvirt_pool::model::{Host, HostMetrics};

use crate::client::Client;
use crate::failure::Result;
use crate::name::read;
use crate::objects;
use crate::output::{Output, lines};
use crate::size::Size;
use crate::vms::all;

/// Shows this host.
pub async fn show(client: &Client, output: &Output) -> Result<()> {
    let vms = all(client).await?;
    let (mut texts, mut records) = (Vec::new(), Vec::new());
    for (reference, host, record) in objects::all::<Host>(client).await? {
        records.push(record);
        let metrics = client.call("host_metrics.get_record", vec![json!(host.metrics.to_string())]).await.ok();
        let metrics: Option<HostMetrics> = metrics.and_then(|metrics| read(metrics).ok());
        let total = metrics.and_then(|metrics| u64::try_from(metrics.memory_total).ok());
        // What VMs may take, which is less than what is free.
        let free = client.call("host.compute_free_memory", vec![json!(reference)]).await.ok();
        let memory = match (free.and_then(|free| free.as_u64()), total) {
            (Some(free), Some(total)) => format!("{} for VMs of {}", Size(free), Size(total)),
            (None, Some(total)) => Size(total).to_string(),
            _ => String::new(),
        };
        let version = host.software_version.get("product_version").cloned().unwrap_or_default();
        let running = vms.iter().filter(|(vm, _)| vm.resident_on.to_string() == reference).count();
        texts.push(lines(&[
            ("name", host.name_label),
            ("description", host.name_description),
            ("uuid", host.uuid),
            ("address", host.address),
            ("version", version),
            ("processors", host.cpu_info.get("cpu_count").cloned().unwrap_or_default()),
            ("memory", memory),
            ("running VMs", running.to_string()),
            ("enabled", if host.enabled { "yes" } else { "no" }.to_owned()),
        ]));
    }
    output.print(&records, || texts.join("\n"))
}
