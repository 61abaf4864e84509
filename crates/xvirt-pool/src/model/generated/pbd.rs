// Written by scripts/model.
//! The class `PBD`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// The connection of a repository and a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Pbd {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The host.
    pub host: Ref<super::Host>,
    /// The repository.
    #[serde(rename = "SR")]
    pub sr: Ref<super::Sr>,
    /// Where the host finds it: `location` is a folder, or an export of NFS with `server` and `serverpath`.
    pub device_config: BTreeMap<String, String>,
    /// Whether the host has it mounted and can use it.
    pub currently_attached: bool,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
}

impl Record for Pbd {}

impl Class for Pbd {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "PBD",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("PBD"),
        record: &Type::Record("PBD"),
        whole: Some(whole::<Pbd>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("SR", Type::Ref("SR")).required().honoured(),
            Field::dynamic("currently_attached", Type::Bool).required().honoured(),
            Field::constant("device_config", Type::Map(&Type::String, &Type::String)).required().honoured(),
            Field::constant("host", Type::Ref("host")).required().honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR).kept(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[
            Verb::new("create", &[("args", Type::Record("PBD"))], Type::Ref("PBD"), Roles::POOL_OPERATOR),
            Verb::new("destroy", &[("self", Type::Ref("PBD"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("plug", &[("self", Type::Ref("PBD"))], Type::Void, Roles::POOL_OPERATOR)
                .errors(&["SR_UNKNOWN_DRIVER"]),
            Verb::new(
                "set_device_config",
                &[("self", Type::Ref("PBD")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("unplug", &[("self", Type::Ref("PBD"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
