// Written by scripts/model.
//! The class `user`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Roles, Type, Verb, record::whole};

/// A local user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct User {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The name to log in with.
    pub short_name: String,
    /// The name for people.
    pub fullname: String,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// The name of its role, which says what it may do.
    pub xvirt_role: String,
}

impl Default for User {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            short_name: String::new(),
            fullname: String::new(),
            other_config: BTreeMap::new(),
            xvirt_role: "read-only".to_owned(),
        }
    }
}

impl Record for User {}

impl Class for User {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "user",
        lifecycle: Lifecycle::Deprecated,
        reference: &Type::Ref("user"),
        record: &Type::Record("user"),
        whole: Some(whole::<User>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid"],
        fields: &[
            Field::writable("fullname", Type::String, Roles::POOL_ADMIN).required().honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_ADMIN).kept(),
            Field::constant("short_name", Type::String).required().honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
            Field::dynamic("xvirt_role", Type::String).starts_as(r#""read-only""#).honoured(),
        ],
        verbs: &[
            Verb::new("create", &[("args", Type::Record("user"))], Type::Ref("user"), Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("destroy", &[("self", Type::Ref("user"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "xvirt_create",
                &[
                    ("name", Type::String),
                    ("fullname", Type::String),
                    ("role", Type::String),
                    ("password", Type::String),
                ],
                Type::Ref("user"),
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "xvirt_get_all_records",
                &[],
                Type::Map(&Type::Ref("user"), &Type::Record("user")),
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "xvirt_set_password",
                &[("self", Type::Ref("user")), ("password", Type::String)],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
            Verb::new(
                "xvirt_set_role",
                &[("self", Type::Ref("user")), ("role", Type::String)],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
        ],
    };
}
