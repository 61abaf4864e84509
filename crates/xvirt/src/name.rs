//! What a name or a UUID means.

use serde_json::{Value, json};
use uuid::Uuid;
use xvirt_pool::model::{Record, Ref, Vm};

use crate::client::Client;
use crate::failure::{Failure, Result};

/// A VM that was found.
#[derive(Debug)]
pub struct Found {
    pub reference: String,
    pub record: Vm,
}

/// Finds the VM of a name or a UUID. Templates and snapshots are found by their UUIDs only.
///
/// # Errors
/// There is none; or several have the name, which are then listed.
pub async fn vm(client: &Client, name: &str) -> Result<Found> {
    if let Ok(uuid) = Uuid::try_parse(name) {
        let reference = Ref::<Vm>::new(uuid).to_string();
        let record = client.call("VM.get_record", vec![json!(reference)]).await;
        let record = record.map_err(|failure| match failure.code() {
            Some("HANDLE_INVALID") => no_such_vm(name, "has this UUID"),
            _ => failure,
        })?;
        return Ok(Found { reference, record: read(record)? });
    }
    let mut found = Vec::new();
    for reference in references(client.call("VM.get_by_name_label", vec![json!(name)]).await?)? {
        match client.call("VM.get_record", vec![json!(reference)]).await {
            Ok(record) => found.push(Found { reference, record: read(record)? }),
            // It was destroyed meanwhile.
            Err(failure) if failure.code() == Some("HANDLE_INVALID") => {}
            Err(failure) => return Err(failure),
        }
    }
    found.retain(|found: &Found| !found.record.is_a_template && !found.record.is_a_snapshot);
    if found.len() > 1 {
        let all: Vec<_> =
            found.iter().map(|found| format!("{} ({})", found.record.uuid, found.record.power_state)).collect();
        let why = format!("{} VMs have this name: {}; give the UUID of one", found.len(), all.join(", "));
        return Err(Failure::not_found(format!("cannot tell which VM {name:?} is"), why));
    }
    found.pop().ok_or_else(|| no_such_vm(name, "has this name"))
}

/// The reference to an object of another class, by its name or its UUID.
pub async fn reference(client: &Client, class: &str, name: &str) -> Result<String> {
    if Uuid::try_parse(name).is_ok() {
        let found = client.call(&format!("{class}.get_by_uuid"), vec![json!(name)]).await?;
        return found.as_str().map(str::to_owned).ok_or_else(|| not_understood(class));
    }
    let mut found = references(client.call(&format!("{class}.get_by_name_label"), vec![json!(name)]).await?)?;
    match found.len() {
        1 => found.pop().ok_or_else(|| not_understood(class)),
        0 => Err(Failure::not_found(
            format!("cannot find the {class} {name:?}"),
            "none has this name; check the spelling",
        )),
        several => {
            let why = format!("{several} have this name: {}; give the UUID of one", found.join(", "));
            Err(Failure::not_found(format!("cannot tell which {class} {name:?} is"), why))
        }
    }
}

/// Reads a record that the service sent.
pub fn read<R: Record>(record: Value) -> Result<R> {
    R::from_value(record).map_err(|error| Failure::new("cannot understand a record of the service", error))
}

fn no_such_vm(name: &str, what: &str) -> Failure {
    Failure::not_found(format!("cannot find the VM {name:?}"), format!("none {what}; see `xvirt vm list`"))
}

fn references(value: Value) -> Result<Vec<String>> {
    serde_json::from_value(value).map_err(|_| not_understood("list"))
}

fn not_understood(what: &str) -> Failure {
    Failure::new(
        format!("cannot understand a {what} of the service"),
        "it has another form; use the same version on both sides",
    )
}
