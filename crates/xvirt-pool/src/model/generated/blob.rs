// Written by scripts/model.
//! The class `blob`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `blob`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blob {}

impl Class for Blob {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "blob",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("blob"),
        record: &Type::Record("blob"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::constant("last_updated", Type::DateTime).required(),
            Field::constant("mime_type", Type::String).required(),
            Field::writable("name_description", Type::String, Roles::POOL_OPERATOR),
            Field::writable("name_label", Type::String, Roles::POOL_OPERATOR),
            Field::writable("public", Type::Bool, Roles::POOL_OPERATOR),
            Field::dynamic("size", Type::Int).required(),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[("mime_type", Type::String), ("public", Type::Bool)],
                Type::Ref("blob"),
                Roles::POOL_OPERATOR,
            )
            .optional(1),
            Verb::new("destroy", &[("self", Type::Ref("blob"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
