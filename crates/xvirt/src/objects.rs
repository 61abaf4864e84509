//! The objects of a service: reads all of a class, and creates new ones.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use xvirt_pool::model::{Qualifier, Record};

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::name::{read, reference};

/// An object: its reference, its record, and that as the service sent it.
pub type Object<R> = (String, R, Value);

/// All objects of a class.
pub async fn all<R: Record>(client: &Client) -> Result<Vec<Object<R>>> {
    all_by(client, &format!("{}.get_all_records", R::TABLE.name)).await
}

/// All objects that a verb returns with their records.
pub async fn all_by<R: Record>(client: &Client, verb: &str) -> Result<Vec<Object<R>>> {
    let records = client.call(verb, Vec::new()).await?;
    let records: BTreeMap<String, Value> =
        serde_json::from_value(records).map_err(|error| Failure::new("cannot understand a list of records", error))?;
    let read_all = records.into_iter().map(|(reference, record)| Ok((reference, read(record.clone())?, record)));
    read_all.collect()
}

/// Creates an object, and returns its reference.
pub async fn new(client: &Client, class: &str, settings: Value) -> Result<String> {
    let reference = client.call(&format!("{class}.create"), vec![settings]).await?;
    reference.as_str().map(str::to_owned).ok_or_else(|| {
        Failure::new(format!("{class}.create"), "it returned no reference; use the same version on both sides")
    })
}

/// What an object is created with: these fields, and the defaults of the others that are given then.
pub fn settings<R: Record>(fields: Value) -> Result<Value> {
    let record = R::from_value(fields).map_err(|error| Failure::new("cannot create this", error))?;
    let record = serde_json::to_value(record).map_err(|error| Failure::new("cannot make a record", error))?;
    let given = |name: &str| R::TABLE.field(name).is_some_and(|field| field.qualifier != Qualifier::DynamicRo);
    let Value::Object(fields) = record else { return Ok(record) };
    Ok(Value::Object(fields.into_iter().filter(|(name, _)| given(name)).collect::<Map<_, _>>()))
}

/// The reference to the repository for new disks: the one that is named, or the pool's.
pub async fn repository(client: &Client, name: Option<&str>) -> Result<String> {
    if let Some(name) = name {
        return reference(client, "SR", name).await;
    }
    let pools = client.call("pool.get_all", Vec::new()).await?;
    let pool = pools.get(0).cloned().unwrap_or_default();
    let default = client.call("pool.get_default_SR", vec![pool]).await?;
    match default.as_str() {
        Some(reference) if !reference.ends_with("NULL") => Ok(reference.to_owned()),
        _ => Err(Failure::new("cannot make disks", "the pool has no default repository; name one with --repository")),
    }
}
