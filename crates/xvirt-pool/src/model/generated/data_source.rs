// Written by scripts/model.
//! The class `data_source`.

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Roles, Type, record::whole};

/// Something that is measured again and again, of a host or a VM.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DataSource {
    /// The name for people; several objects may have the same.
    pub name_label: String,
    /// The description for people.
    pub name_description: String,
    /// Whether it is recorded.
    pub enabled: bool,
    /// Whether it is recorded unless somebody turns it off.
    pub standard: bool,
    /// The unit of its values.
    pub units: String,
    /// The least value that it can have.
    pub min: f64,
    /// The greatest value that it can have.
    pub max: f64,
    /// The last value.
    pub value: f64,
}

impl Record for DataSource {}

impl Class for DataSource {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "data_source",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("data_source"),
        record: &Type::Record("data_source"),
        whole: Some(whole::<DataSource>),
        read: Roles::NONE,
        queries: &[],
        fields: &[
            Field::dynamic("enabled", Type::Bool).required().read_by(Roles::NONE).honoured(),
            Field::dynamic("max", Type::Float).required().read_by(Roles::NONE).honoured(),
            Field::dynamic("min", Type::Float).required().read_by(Roles::NONE).honoured(),
            Field::dynamic("name_description", Type::String).read_by(Roles::NONE).honoured(),
            Field::dynamic("name_label", Type::String).read_by(Roles::NONE).honoured(),
            Field::dynamic("standard", Type::Bool).required().read_by(Roles::NONE).honoured(),
            Field::dynamic("units", Type::String).required().read_by(Roles::NONE).honoured(),
            Field::dynamic("value", Type::Float).required().read_by(Roles::NONE).honoured(),
        ],
        verbs: &[],
    };
}
