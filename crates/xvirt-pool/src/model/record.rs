//! Classes and records as types.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::table::ClassTable;
use super::value_error::{ValueError, ValueErrorKind, shown};

/// A class as a type, for [`Ref`](super::Ref).
pub trait Class: 'static {
    /// What is known of the class.
    const TABLE: &'static ClassTable;
}

/// The record of a class: all of its fields.
pub trait Record: Class + Clone + Default + fmt::Debug + PartialEq + Serialize + DeserializeOwned {
    /// Reads a record, as a client or an earlier version wrote it. Fields that are missing have their defaults, members
    /// that are no fields are ignored.
    ///
    /// # Errors
    /// It is no object, or the value of a field is not one of the field's type.
    fn from_value(value: Value) -> Result<Self, ValueError> {
        let table = Self::TABLE;
        let Value::Object(mut given) = value else { return Err(malformed(table, "an object", &value)) };
        let mut record = Map::new();
        for field in table.fields {
            if let Some(value) = given.remove(field.name) {
                record.insert(field.name.to_owned(), table.conform(field, value)?);
            }
        }
        let record = Value::Object(record);
        Self::deserialize(&record).map_err(|error| malformed(table, &error.to_string(), &record))
    }

    /// The record as clients and the store have it, with all fields.
    ///
    /// # Errors
    /// A number is not finite.
    fn to_value(&self) -> Result<Value, ValueError> {
        let table = Self::TABLE;
        let value = serde_json::to_value(self).map_err(|error| malformed(table, &error.to_string(), &Value::Null))?;
        let Value::Object(mut members) = value else { return Err(malformed(table, "an object", &value)) };
        for field in table.fields {
            let value = members.remove(field.name).unwrap_or_else(|| field.default());
            members.insert(field.name.to_owned(), table.conform(field, value)?);
        }
        Ok(Value::Object(members))
    }
}

/// A record with all fields, from one with some of them.
pub(super) fn whole<R: Record>(value: Value) -> Result<Value, ValueError> {
    R::from_value(value)?.to_value()
}

fn malformed(table: &'static ClassTable, expected: &str, given: &Value) -> ValueError {
    ValueError {
        kind: ValueErrorKind::WrongType,
        class: table.name,
        field: "",
        expected: expected.to_owned(),
        given: shown(given),
        remedy: "give an object with the fields of the class".to_owned(),
    }
}
