// Written by scripts/model.
//! The class `DR_task`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `DR_task`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrTask {}

impl Class for DrTask {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "DR_task",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("DR_task"),
        record: &Type::Record("DR_task"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("introduced_SRs", Type::Set(&Type::Ref("SR"))).required(),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[
                    ("type", Type::String),
                    ("device_config", Type::Map(&Type::String, &Type::String)),
                    ("whitelist", Type::Set(&Type::String)),
                ],
                Type::Ref("DR_task"),
                Roles::POOL_OPERATOR,
            ),
            Verb::new("destroy", &[("self", Type::Ref("DR_task"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
