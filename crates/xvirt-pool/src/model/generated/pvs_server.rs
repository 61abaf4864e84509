// Written by scripts/model.
//! The class `PVS_server`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `PVS_server`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PvsServer {}

impl Class for PvsServer {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "PVS_server",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("PVS_server"),
        record: &Type::Record("PVS_server"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("addresses", Type::Set(&Type::String)),
            Field::constant("first_port", Type::Int),
            Field::constant("last_port", Type::Int),
            Field::constant("site", Type::Ref("PVS_site")),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new("forget", &[("self", Type::Ref("PVS_server"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "introduce",
                &[
                    ("addresses", Type::Set(&Type::String)),
                    ("first_port", Type::Int),
                    ("last_port", Type::Int),
                    ("site", Type::Ref("PVS_site")),
                ],
                Type::Ref("PVS_server"),
                Roles::POOL_OPERATOR,
            ),
        ],
    };
}
