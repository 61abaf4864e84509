// Written by scripts/model.
//! The class `network`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A network: a bridge on each host that has it, to which network interfaces of VMs and hosts are connected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Network {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The name for people; several objects may have the same.
    pub name_label: String,
    /// The description for people.
    pub name_description: String,
    /// What may be done with it now. It is advice: each operation checks again.
    pub allowed_operations: Vec<enums::NetworkOperations>,
    /// What is being done with it: the kind of the operation by the reference of its task.
    pub current_operations: BTreeMap<String, enums::NetworkOperations>,
    /// The network interfaces of VMs in it.
    #[serde(rename = "VIFs")]
    pub vifs: Vec<Ref<super::Vif>>,
    /// The network interfaces of hosts that connect it to the outside, at most one of each host.
    #[serde(rename = "PIFs")]
    pub pifs: Vec<Ref<super::Pif>>,
    /// Bytes: the largest packet, 68 to 65535; 0 for 1500.
    #[serde(rename = "MTU")]
    pub mtu: i64,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// The name of its bridge on every host.
    pub bridge: String,
    /// Whether xvirt makes its bridge; otherwise it must be there.
    pub managed: bool,
    /// Not honoured: always empty.
    pub blobs: BTreeMap<String, Ref<super::Blob>>,
    /// Kept as clients set it; xvirt does not use it.
    pub tags: Vec<String>,
    /// Not honoured: always `unlocked`.
    pub default_locking_mode: enums::NetworkDefaultLockingMode,
    /// Not honoured: always empty.
    pub assigned_ips: BTreeMap<Ref<super::Vif>, String>,
    /// Not honoured: always empty.
    pub purpose: Vec<enums::NetworkPurpose>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            name_label: String::new(),
            name_description: String::new(),
            allowed_operations: Vec::new(),
            current_operations: BTreeMap::new(),
            vifs: Vec::new(),
            pifs: Vec::new(),
            mtu: 1500,
            other_config: BTreeMap::new(),
            bridge: String::new(),
            managed: true,
            blobs: BTreeMap::new(),
            tags: Vec::new(),
            default_locking_mode: enums::NetworkDefaultLockingMode::Unlocked,
            assigned_ips: BTreeMap::new(),
            purpose: Vec::new(),
        }
    }
}

impl Record for Network {}

impl Class for Network {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "network",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("network"),
        record: &Type::Record("network"),
        whole: Some(whole::<Network>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::writable("MTU", Type::Int, Roles::VM_ADMIN).starts_as("1500").honoured(),
            Field::dynamic("PIFs", Type::Set(&Type::Ref("PIF"))).required().honoured(),
            Field::dynamic("VIFs", Type::Set(&Type::Ref("VIF"))).required().honoured(),
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::NetworkOperations::TABLE))).honoured(),
            Field::dynamic("assigned_ips", Type::Map(&Type::Ref("VIF"), &Type::String)),
            Field::dynamic("blobs", Type::Map(&Type::String, &Type::Ref("blob"))),
            Field::constant("bridge", Type::String).honoured(),
            Field::dynamic(
                "current_operations",
                Type::Map(&Type::String, &Type::Enum(enums::NetworkOperations::TABLE)),
            )
            .honoured(),
            Field::dynamic("default_locking_mode", Type::Enum(enums::NetworkDefaultLockingMode::TABLE))
                .starts_as(r#""unlocked""#),
            Field::constant("managed", Type::Bool).starts_as("true").honoured(),
            Field::writable("name_description", Type::String, Roles::POOL_OPERATOR).honoured(),
            Field::writable("name_label", Type::String, Roles::POOL_OPERATOR).honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR)
                .required()
                .kept(),
            Field::dynamic("purpose", Type::Set(&Type::Enum(enums::NetworkPurpose::TABLE))),
            Field::writable("tags", Type::Set(&Type::String), Roles::VM_OPERATOR).kept(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[
            Verb::new(
                "add_purpose",
                &[("self", Type::Ref("network")), ("value", Type::Enum(enums::NetworkPurpose::TABLE))],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .errors(&["NETWORK_INCOMPATIBLE_PURPOSES"]),
            Verb::new("create", &[("args", Type::Record("network"))], Type::Ref("network"), Roles::VM_ADMIN),
            Verb::new(
                "create_new_blob",
                &[
                    ("network", Type::Ref("network")),
                    ("name", Type::String),
                    ("mime_type", Type::String),
                    ("public", Type::Bool),
                ],
                Type::Ref("blob"),
                Roles::POOL_OPERATOR,
            )
            .optional(1),
            Verb::new("destroy", &[("self", Type::Ref("network"))], Type::Void, Roles::VM_ADMIN),
            Verb::new(
                "remove_purpose",
                &[("self", Type::Ref("network")), ("value", Type::Enum(enums::NetworkPurpose::TABLE))],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "set_default_locking_mode",
                &[("network", Type::Ref("network")), ("value", Type::Enum(enums::NetworkDefaultLockingMode::TABLE))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
        ],
    };
}
