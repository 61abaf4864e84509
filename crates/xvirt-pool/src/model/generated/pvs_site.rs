// Written by scripts/model.
//! The class `PVS_site`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `PVS_site`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PvsSite {}

impl Class for PvsSite {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "PVS_site",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("PVS_site"),
        record: &Type::Record("PVS_site"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::constant("PVS_uuid", Type::String),
            Field::dynamic("cache_storage", Type::Set(&Type::Ref("PVS_cache_storage"))),
            Field::writable("name_description", Type::String, Roles::POOL_OPERATOR),
            Field::writable("name_label", Type::String, Roles::POOL_OPERATOR),
            Field::dynamic("proxies", Type::Set(&Type::Ref("PVS_proxy"))).required(),
            Field::dynamic("servers", Type::Set(&Type::Ref("PVS_server"))).required(),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new("forget", &[("self", Type::Ref("PVS_site"))], Type::Void, Roles::POOL_OPERATOR)
                .errors(&["PVS_SITE_CONTAINS_RUNNING_PROXIES", "PVS_SITE_CONTAINS_SERVERS"]),
            Verb::new(
                "introduce",
                &[("name_label", Type::String), ("name_description", Type::String), ("PVS_uuid", Type::String)],
                Type::Ref("PVS_site"),
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_PVS_uuid",
                &[("self", Type::Ref("PVS_site")), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
        ],
    };
}
