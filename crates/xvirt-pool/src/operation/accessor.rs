//! The verbs that every class has because of its fields, and the queries, on records as JSON.

use serde_json::{Map, Value};

use super::Failure;
use super::arguments::Arguments;
use crate::model::{Call, ClassTable, Field};

/// The value of a field.
pub(crate) fn get(record: &Value, field: &Field) -> Value {
    record.get(field.name).cloned().unwrap_or_else(|| field.default())
}

/// What a verb of a field does to a record; `Ok(false)` if nothing changes.
///
/// # Errors
/// `MAP_DUPLICATE_KEY`, or the value is refused.
pub(crate) fn set(
    record: &mut Map<String, Value>,
    table: &ClassTable,
    call: Call,
    arguments: &Arguments,
) -> Result<bool, Failure> {
    let (Call::Set(field) | Call::Add(field) | Call::Remove(field) | Call::AddTo(field) | Call::RemoveFrom(field)) =
        call
    else {
        return Ok(false);
    };
    let old = record.get(field.name).cloned().unwrap_or_else(|| field.default());
    let mut new = old.clone();
    let (key, value) = (arguments.text(1), arguments.value(1));
    match (call, &mut new) {
        (Call::Set(_), new) => *new = value,
        (Call::Add(_), Value::Array(values)) if !values.contains(&value) => values.push(value),
        (Call::Remove(_), Value::Array(values)) => values.retain(|one| *one != value),
        (Call::AddTo(_), Value::Object(entries)) => {
            if entries.contains_key(&key) {
                let parameters = [table.name.to_owned(), field.name.to_owned(), arguments.text(0), key];
                return Err(Failure::new("MAP_DUPLICATE_KEY", parameters).with_remedy("remove the key first"));
            }
            entries.insert(key, arguments.value(2));
        }
        (Call::RemoveFrom(_), Value::Object(entries)) => {
            entries.remove(&key);
        }
        _ => {}
    }
    let new = table.conform_set(field, new)?;
    let changed = new != old;
    record.insert(field.name.to_owned(), new);
    Ok(changed)
}

/// Whether a record has this name.
pub(crate) fn named(record: &Value, label: &str) -> bool {
    record.get("name_label").and_then(Value::as_str) == Some(label)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::class;

    fn change(verb: &str, mut values: Vec<Value>, record: &mut Map<String, Value>) -> Result<bool, String> {
        let table = class("VM").unwrap();
        let call = table.call(verb).unwrap();
        values.insert(0, json!("OpaqueRef:NULL"));
        let arguments = Arguments::read(verb, table, call, values).map_err(|failure| failure.code)?;
        set(record, table, call, &arguments).map_err(|failure| failure.code)
    }

    #[test]
    fn fields_are_set_added_to_and_removed_from() {
        let record = &mut Map::new();
        assert_eq!(change("set_name_label", vec![json!("web")], record), Ok(true));
        assert_eq!(change("set_name_label", vec![json!("web")], record), Ok(false));
        assert_eq!(change("set_name_label", vec![json!(7)], record), Err("FIELD_TYPE_ERROR".into()));
        assert_eq!(change("add_tags", vec![json!("a")], record), Ok(true));
        assert_eq!(change("add_tags", vec![json!("a")], record), Ok(false));
        assert_eq!(change("remove_tags", vec![json!("a")], record), Ok(true));
        assert_eq!(change("add_to_xenstore_data", vec![json!("k"), json!("v")], record), Ok(true));
        assert_eq!(
            change("add_to_xenstore_data", vec![json!("k"), json!("w")], record),
            Err("MAP_DUPLICATE_KEY".into())
        );
        assert_eq!(change("remove_from_xenstore_data", vec![json!("k")], record), Ok(true));
        assert_eq!(record.get("xenstore_data"), Some(&json!({})));
    }

    #[test]
    fn a_field_that_is_not_honoured_is_refused_only_if_it_would_change() {
        let record = &mut Map::new();
        assert_eq!(change("set_PCI_bus", vec![json!("")], record), Ok(false));
        assert_eq!(change("set_PCI_bus", vec![json!("0:1")], record), Err("VALUE_NOT_SUPPORTED".into()));
    }
}
