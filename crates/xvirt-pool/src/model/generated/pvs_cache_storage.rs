// Written by scripts/model.
//! The class `PVS_cache_storage`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `PVS_cache_storage`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PvsCacheStorage {}

impl Class for PvsCacheStorage {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "PVS_cache_storage",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("PVS_cache_storage"),
        record: &Type::Record("PVS_cache_storage"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("SR", Type::Ref("SR")),
            Field::dynamic("VDI", Type::Ref("VDI")),
            Field::constant("host", Type::Ref("host")),
            Field::constant("site", Type::Ref("PVS_site")),
            Field::constant("size", Type::Int).starts_as("21474836480"),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[("args", Type::Record("PVS_cache_storage"))],
                Type::Ref("PVS_cache_storage"),
                Roles::POOL_OPERATOR,
            ),
            Verb::new("destroy", &[("self", Type::Ref("PVS_cache_storage"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
