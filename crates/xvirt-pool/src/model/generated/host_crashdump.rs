// Written by scripts/model.
//! The class `host_crashdump`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `host_crashdump`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCrashdump {}

impl Class for HostCrashdump {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "host_crashdump",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("host_crashdump"),
        record: &Type::Record("host_crashdump"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("host", Type::Ref("host")).required(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::dynamic("size", Type::Int).required(),
            Field::dynamic("timestamp", Type::DateTime).required(),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new("destroy", &[("self", Type::Ref("host_crashdump"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "upload",
                &[
                    ("self", Type::Ref("host_crashdump")),
                    ("url", Type::String),
                    ("options", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
        ],
    };
}
