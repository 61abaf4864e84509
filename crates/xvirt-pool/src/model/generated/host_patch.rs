// Written by scripts/model.
//! The class `host_patch`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `host_patch`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPatch {}

impl Class for HostPatch {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "host_patch",
        lifecycle: Lifecycle::Deprecated,
        reference: &Type::Ref("host_patch"),
        record: &Type::Record("host_patch"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("applied", Type::Bool).required(),
            Field::constant("host", Type::Ref("host")).required(),
            Field::constant("name_description", Type::String),
            Field::constant("name_label", Type::String),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::constant("pool_patch", Type::Ref("pool_patch")),
            Field::dynamic("size", Type::Int).required(),
            Field::dynamic("timestamp_applied", Type::DateTime).required(),
            Field::dynamic("uuid", Type::String).required(),
            Field::constant("version", Type::String).required(),
        ],
        verbs: &[
            Verb::new("apply", &[("self", Type::Ref("host_patch"))], Type::String, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("destroy", &[("self", Type::Ref("host_patch"))], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
        ],
    };
}
