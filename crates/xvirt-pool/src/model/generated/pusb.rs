// Written by scripts/model.
//! The class `PUSB`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `PUSB`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pusb {}

impl Class for Pusb {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "PUSB",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("PUSB"),
        record: &Type::Record("PUSB"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("USB_group", Type::Ref("USB_group")),
            Field::constant("description", Type::String),
            Field::constant("host", Type::Ref("host")),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_ADMIN),
            Field::dynamic("passthrough_enabled", Type::Bool),
            Field::constant("path", Type::String),
            Field::constant("product_desc", Type::String),
            Field::constant("product_id", Type::String),
            Field::constant("serial", Type::String),
            Field::constant("speed", Type::Float).starts_as("-1.0"),
            Field::dynamic("uuid", Type::String).required(),
            Field::constant("vendor_desc", Type::String),
            Field::constant("vendor_id", Type::String),
            Field::constant("version", Type::String),
        ],
        verbs: &[
            Verb::new("scan", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_ADMIN),
            Verb::new(
                "set_passthrough_enabled",
                &[("self", Type::Ref("PUSB")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_ADMIN,
            ),
        ],
    };
}
