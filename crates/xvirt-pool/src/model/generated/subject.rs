// Written by scripts/model.
//! The class `subject`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A user or a group that may log in, with roles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Subject {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The identifier in the directory that knows it.
    pub subject_identifier: String,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// Its roles; that of administrators of the pool at first.
    pub roles: Vec<Ref<super::Role>>,
}

impl Default for Subject {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            subject_identifier: String::new(),
            other_config: BTreeMap::new(),
            roles: vec![Ref::new(uuid::Uuid::from_u128(0x0165_f154_ba3e_034e_6b27_5d27_1af1_09ba))],
        }
    }
}

impl Record for Subject {}

impl Class for Subject {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "subject",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("subject"),
        record: &Type::Record("subject"),
        whole: Some(whole::<Subject>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("other_config", Type::Map(&Type::String, &Type::String)).kept(),
            Field::dynamic("roles", Type::Set(&Type::Ref("role")))
                .starts_as(r#"["OpaqueRef:0165f154-ba3e-034e-6b27-5d271af109ba"]"#)
                .honoured(),
            Field::constant("subject_identifier", Type::String).honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[
            Verb::new(
                "add_to_roles",
                &[("self", Type::Ref("subject")), ("role", Type::Ref("role"))],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
            Verb::new("create", &[("args", Type::Record("subject"))], Type::Ref("subject"), Roles::POOL_ADMIN),
            Verb::new("destroy", &[("self", Type::Ref("subject"))], Type::Void, Roles::POOL_ADMIN),
            Verb::new(
                "get_permissions_name_label",
                &[("self", Type::Ref("subject"))],
                Type::Set(&Type::String),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "remove_from_roles",
                &[("self", Type::Ref("subject")), ("role", Type::Ref("role"))],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
        ],
    };
}
