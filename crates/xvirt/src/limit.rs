//! Limits of disks and network interfaces.

use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::failure::Result;

/// Sets the limits of a VBD or VIF, in place of those that it has.
pub async fn set(client: &Client, class: &str, reference: &str, limits: &[(&str, Option<u64>)]) -> Result<()> {
    let given =
        limits.iter().filter_map(|(name, limit)| Some(((*name).to_owned(), json!(limit.as_ref()?.to_string()))));
    let parameters: Map<String, Value> = given.collect();
    let algorithm = if parameters.is_empty() { "" } else { "ratelimit" };
    let set = async |field: &str, value: Value| {
        client.call(&format!("{class}.set_qos_algorithm_{field}"), vec![json!(reference), value]).await
    };
    // In this order, because parameters are checked by the algorithm.
    set("type", json!(algorithm)).await?;
    set("params", Value::Object(parameters)).await?;
    Ok(())
}
