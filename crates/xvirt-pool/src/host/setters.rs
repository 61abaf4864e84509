//! What the setters of fields require of other objects.

use serde_json::{Map, Value};

use super::storage::in_use;
use crate::model::{Call, ClassTable, Qualifier, Record, Ref, Type, Vbd, Vm, VmOperations, class};
use crate::objects::Change;
use crate::operation::{Failure, codes, create, power};

/// Checks what a setter has made of a record, and sets what depends on it.
pub(crate) fn check(
    change: &mut Change<'_>,
    table: &ClassTable,
    of: Ref<()>,
    call: Call,
    record: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let (Call::Set(field) | Call::Add(field) | Call::Remove(field) | Call::AddTo(field) | Call::RemoveFrom(field)) =
        call
    else {
        return Ok(());
    };
    require_object(change, &field.value_type, record.get(field.name))?;
    match (table.name, field.name) {
        ("VBD", "userdevice") => {
            let vbd = detached(change, record)?;
            let mut others = Vec::new();
            for other in change.get::<Vm>(vbd.vm)?.vbds {
                if other.uuid() != of.uuid() {
                    others.extend(change.find(other)?);
                }
            }
            let (userdevice, device) = create::place_of_vbd(&vbd.userdevice, &others)?;
            record.insert("userdevice".to_owned(), Value::from(userdevice));
            record.insert("device".to_owned(), Value::from(device));
            Ok(())
        }
        ("VBD", "type") => detached(change, record).map(drop),
        ("VM", "is_a_template") => {
            let vm = Ref::<Vm>::new(of.uuid().unwrap_or_default());
            let before = change.get(vm)?;
            let becomes = record.get("is_a_template") == Some(&Value::Bool(true)) && !before.is_a_template;
            // A template cannot be powered off, so it must not run.
            if becomes { power::require(&before, vm, VmOperations::MakeIntoTemplate) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// Requires that the objects exist that a client names in a new record.
pub(crate) fn require_objects(change: &mut Change<'_>, table: &ClassTable, record: &Value) -> Result<(), Failure> {
    let given = table.fields.iter().filter(|field| field.qualifier != Qualifier::DynamicRo);
    for field in given {
        require_object(change, &field.value_type, record.get(field.name))?;
    }
    Ok(())
}

/// Requires that a reference is null or that of an object.
fn require_object(change: &mut Change<'_>, value_type: &Type, value: Option<&Value>) -> Result<(), Failure> {
    let (Type::Ref(name), Some(text)) = (value_type, value.and_then(Value::as_str)) else { return Ok(()) };
    let invalid = || codes::handle_invalid(name, text);
    let Some(uuid) = text.parse::<Ref<()>>().map_err(|_| invalid())?.uuid() else { return Ok(()) };
    let table = class(name).ok_or_else(invalid)?;
    change.value(table, uuid)?.map(drop).ok_or_else(invalid)
}

/// A VBD whose disk no VM uses.
fn detached(change: &mut Change<'_>, record: &Map<String, Value>) -> Result<Vbd, Failure> {
    let vbd = Vbd::from_value(Value::Object(record.clone()))?;
    if in_use::is_used(change, &vbd)? {
        return Err(codes::not_allowed("the disk is attached", "unplug it, or shut the VM down"));
    }
    Ok(vbd)
}
