// Written by scripts/model.
//! The class `SR`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A storage repository: a folder that has disks, local to a host or shared by hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Sr {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The name for people; several objects may have the same.
    pub name_label: String,
    /// The description for people.
    pub name_description: String,
    /// What may be done with it now. It is advice: each operation checks again.
    pub allowed_operations: Vec<enums::StorageOperations>,
    /// What is being done with it: the kind of the operation by the reference of its task.
    pub current_operations: BTreeMap<String, enums::StorageOperations>,
    /// Its disks.
    #[serde(rename = "VDIs")]
    pub vdis: Vec<Ref<super::Vdi>>,
    /// Its connections to hosts.
    #[serde(rename = "PBDs")]
    pub pbds: Vec<Ref<super::Pbd>>,
    /// Bytes: the sum of the sizes of its disks.
    pub virtual_allocation: i64,
    /// Bytes of its file system that are taken.
    pub physical_utilisation: i64,
    /// Bytes of its file system.
    pub physical_size: i64,
    /// The kind of repository, which an SM of that type describes: `file` or `nfs`.
    pub r#type: String,
    /// What it has: `user` for disks, `iso` for discs.
    pub content_type: String,
    /// Whether every host of the pool reaches it.
    pub shared: bool,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// Kept as clients set it; xvirt does not use it.
    pub tags: Vec<String>,
    /// What was given when it was created; its type says which keys it takes.
    pub sm_config: BTreeMap<String, String>,
    /// Not honoured: always empty.
    pub blobs: BTreeMap<String, Ref<super::Blob>>,
    /// Not honoured: always `false`.
    pub local_cache_enabled: bool,
    /// Not honoured: always the null reference.
    pub introduced_by: Ref<super::DrTask>,
    /// Not honoured: always `false`.
    pub clustered: bool,
    /// Not honoured: always `false`.
    pub is_tools_sr: bool,
}

impl Record for Sr {}

impl Class for Sr {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "SR",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("SR"),
        record: &Type::Record("SR"),
        whole: Some(whole::<Sr>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("PBDs", Type::Set(&Type::Ref("PBD"))).required().honoured(),
            Field::dynamic("VDIs", Type::Set(&Type::Ref("VDI"))).required().honoured(),
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::StorageOperations::TABLE))).honoured(),
            Field::dynamic("blobs", Type::Map(&Type::String, &Type::Ref("blob"))),
            Field::dynamic("clustered", Type::Bool),
            Field::constant("content_type", Type::String).required().honoured(),
            Field::dynamic(
                "current_operations",
                Type::Map(&Type::String, &Type::Enum(enums::StorageOperations::TABLE)),
            )
            .honoured(),
            Field::dynamic("introduced_by", Type::Ref("DR_task")),
            Field::dynamic("is_tools_sr", Type::Bool),
            Field::dynamic("local_cache_enabled", Type::Bool),
            Field::constant("name_description", Type::String).honoured(),
            Field::constant("name_label", Type::String).honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR)
                .required()
                .kept(),
            Field::constant("physical_size", Type::Int).required().honoured(),
            Field::dynamic("physical_utilisation", Type::Int).required().honoured(),
            Field::dynamic("shared", Type::Bool).required().honoured(),
            Field::writable("sm_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR).honoured(),
            Field::writable("tags", Type::Set(&Type::String), Roles::VM_OPERATOR).kept(),
            Field::constant("type", Type::String).required().honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
            Field::dynamic("virtual_allocation", Type::Int).required().honoured(),
        ],
        verbs: &[
            Verb::new("assert_can_host_ha_statefile", &[("sr", Type::Ref("SR"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "assert_supports_database_replication",
                &[("sr", Type::Ref("SR"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "create",
                &[
                    ("host", Type::Ref("host")),
                    ("device_config", Type::Map(&Type::String, &Type::String)),
                    ("physical_size", Type::Int),
                    ("name_label", Type::String),
                    ("name_description", Type::String),
                    ("type", Type::String),
                    ("content_type", Type::String),
                    ("shared", Type::Bool),
                    ("sm_config", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Ref("SR"),
                Roles::POOL_OPERATOR,
            )
            .optional(1)
            .errors(&["SR_UNKNOWN_DRIVER"]),
            Verb::new(
                "create_new_blob",
                &[("sr", Type::Ref("SR")), ("name", Type::String), ("mime_type", Type::String), ("public", Type::Bool)],
                Type::Ref("blob"),
                Roles::POOL_OPERATOR,
            )
            .optional(1),
            Verb::new("destroy", &[("sr", Type::Ref("SR"))], Type::Void, Roles::POOL_OPERATOR).errors(&["SR_HAS_PBD"]),
            Verb::new("disable_database_replication", &[("sr", Type::Ref("SR"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("enable_database_replication", &[("sr", Type::Ref("SR"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("forget", &[("sr", Type::Ref("SR"))], Type::Void, Roles::POOL_OPERATOR).errors(&["SR_HAS_PBD"]),
            Verb::new(
                "forget_data_source_archives",
                &[("sr", Type::Ref("SR")), ("data_source", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "get_data_sources",
                &[("sr", Type::Ref("SR"))],
                Type::Set(&Type::Record("data_source")),
                Roles::READ_ONLY,
            ),
            Verb::new("get_supported_types", &[], Type::Set(&Type::String), Roles::READ_ONLY),
            Verb::new(
                "introduce",
                &[
                    ("uuid", Type::String),
                    ("name_label", Type::String),
                    ("name_description", Type::String),
                    ("type", Type::String),
                    ("content_type", Type::String),
                    ("shared", Type::Bool),
                    ("sm_config", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Ref("SR"),
                Roles::POOL_OPERATOR,
            )
            .optional(1),
            Verb::new(
                "make",
                &[
                    ("host", Type::Ref("host")),
                    ("device_config", Type::Map(&Type::String, &Type::String)),
                    ("physical_size", Type::Int),
                    ("name_label", Type::String),
                    ("name_description", Type::String),
                    ("type", Type::String),
                    ("content_type", Type::String),
                    ("sm_config", Type::Map(&Type::String, &Type::String)),
                ],
                Type::String,
                Roles::POOL_OPERATOR,
            )
            .optional(1)
            .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "probe",
                &[
                    ("host", Type::Ref("host")),
                    ("device_config", Type::Map(&Type::String, &Type::String)),
                    ("type", Type::String),
                    ("sm_config", Type::Map(&Type::String, &Type::String)),
                ],
                Type::String,
                Roles::POOL_OPERATOR,
            )
            .optional(1),
            Verb::new(
                "probe_ext",
                &[
                    ("host", Type::Ref("host")),
                    ("device_config", Type::Map(&Type::String, &Type::String)),
                    ("type", Type::String),
                    ("sm_config", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Set(&Type::Record("probe_result")),
                Roles::POOL_OPERATOR,
            )
            .optional(1),
            Verb::new(
                "query_data_source",
                &[("sr", Type::Ref("SR")), ("data_source", Type::String)],
                Type::Float,
                Roles::READ_ONLY,
            ),
            Verb::new(
                "record_data_source",
                &[("sr", Type::Ref("SR")), ("data_source", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("scan", &[("sr", Type::Ref("SR"))], Type::Void, Roles::VM_POWER_ADMIN),
            Verb::new(
                "set_name_description",
                &[("sr", Type::Ref("SR")), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_name_label",
                &[("sr", Type::Ref("SR")), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_physical_size",
                &[("self", Type::Ref("SR")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_shared",
                &[("sr", Type::Ref("SR")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("update", &[("sr", Type::Ref("SR"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
