// Written by scripts/model.
//! The class `role`.

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A role of users, or one permission, which is a role without parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Role {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The name for people; several objects may have the same.
    pub name_label: String,
    /// The description for people.
    pub name_description: String,
    /// The roles and permissions that it has.
    pub subroles: Vec<Ref<super::Role>>,
    /// Whether users cannot be given it.
    pub is_internal: bool,
}

impl Record for Role {}

impl Class for Role {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "role",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("role"),
        record: &Type::Record("role"),
        whole: Some(whole::<Role>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("is_internal", Type::Bool).honoured(),
            Field::constant("name_description", Type::String).honoured(),
            Field::constant("name_label", Type::String).honoured(),
            Field::constant("subroles", Type::Set(&Type::Ref("role"))).honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[
            Verb::new(
                "get_by_permission",
                &[("permission", Type::Ref("role"))],
                Type::Set(&Type::Ref("role")),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "get_by_permission_name_label",
                &[("label", Type::String)],
                Type::Set(&Type::Ref("role")),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "get_permissions",
                &[("self", Type::Ref("role"))],
                Type::Set(&Type::Ref("role")),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "get_permissions_name_label",
                &[("self", Type::Ref("role"))],
                Type::Set(&Type::String),
                Roles::READ_ONLY,
            ),
        ],
    };
}
