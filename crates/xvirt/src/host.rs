//! `xvirt host show`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xvirt_pool::model::{Host, HostMetrics};

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::name::read;
use crate::output::{Output, lines};
use crate::size::Size;

/// Shows this host.
pub async fn show(client: &Client, output: &Output) -> Result<()> {
    let records = client.call("host.get_all_records", Vec::new()).await?;
    let records: BTreeMap<String, Value> =
        serde_json::from_value(records).map_err(|error| Failure::new("cannot understand the host's record", error))?;
    let mut texts = Vec::new();
    for record in records.values() {
        let host: Host = read(record.clone())?;
        let metrics = client.call("host_metrics.get_record", vec![json!(host.metrics.to_string())]).await.ok();
        let metrics: Option<HostMetrics> = metrics.and_then(|metrics| read(metrics).ok());
        let size = |bytes: i64| Size(u64::try_from(bytes).unwrap_or(0)).to_string();
        let memory =
            metrics.map(|metrics| format!("{} free of {}", size(metrics.memory_free), size(metrics.memory_total)));
        let version = host.software_version.get("product_version").cloned().unwrap_or_default();
        texts.push(lines(&[
            ("name", host.name_label),
            ("description", host.name_description),
            ("uuid", host.uuid),
            ("address", host.address),
            ("version", version),
            ("processors", host.cpu_info.get("cpu_count").cloned().unwrap_or_default()),
            ("memory", memory.unwrap_or_default()),
            ("running VMs", host.resident_vms.len().to_string()),
            ("enabled", if host.enabled { "yes" } else { "no" }.to_owned()),
        ]));
    }
    output.print(&records.values().collect::<Vec<_>>(), || texts.join("\n"))
}
