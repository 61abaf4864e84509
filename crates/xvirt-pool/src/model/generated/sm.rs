// Written by scripts/model.
//! The class `SM`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Roles, Type, record::whole};

/// A kind of repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Sm {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The name for people; several objects may have the same.
    pub name_label: String,
    /// The description for people.
    pub name_description: String,
    /// Its name, which repositories have as their type.
    pub r#type: String,
    /// Who made it.
    pub vendor: String,
    /// Whose work it is.
    pub copyright: String,
    /// Its version, which is that of xvirt.
    pub version: String,
    /// The version of the interface that it implements.
    pub required_api_version: String,
    /// The keys of a device_config that it takes, with a description of each.
    pub configuration: BTreeMap<String, String>,
    /// What it can do, as the names of `features`.
    pub capabilities: Vec<String>,
    /// What it can do, with the version of each, such as `VDI_SNAPSHOT`.
    pub features: BTreeMap<String, i64>,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub driver_filename: String,
    /// Not honoured: always empty.
    pub required_cluster_stack: Vec<String>,
    /// The formats of its disks.
    pub supported_image_formats: Vec<enums::ImageFormatType>,
}

impl Record for Sm {}

impl Class for Sm {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "SM",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("SM"),
        record: &Type::Record("SM"),
        whole: Some(whole::<Sm>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("capabilities", Type::Set(&Type::String)).lifecycle(Lifecycle::Deprecated).honoured(),
            Field::dynamic("configuration", Type::Map(&Type::String, &Type::String)).required().honoured(),
            Field::dynamic("copyright", Type::String).required().honoured(),
            Field::dynamic("driver_filename", Type::String),
            Field::dynamic("features", Type::Map(&Type::String, &Type::Int)).honoured(),
            Field::dynamic("name_description", Type::String).honoured(),
            Field::dynamic("name_label", Type::String).honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR).kept(),
            Field::dynamic("required_api_version", Type::String).required().honoured(),
            Field::dynamic("required_cluster_stack", Type::Set(&Type::String)),
            Field::dynamic("supported_image_formats", Type::Set(&Type::Enum(enums::ImageFormatType::TABLE)))
                .lifecycle(Lifecycle::Prototyped)
                .honoured(),
            Field::dynamic("type", Type::String).required().honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
            Field::dynamic("vendor", Type::String).required().honoured(),
            Field::dynamic("version", Type::String).required().honoured(),
        ],
        verbs: &[],
    };
}
