// Written by scripts/model.
//! The class `crashdump`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `crashdump`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crashdump {}

impl Class for Crashdump {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "crashdump",
        lifecycle: Lifecycle::Deprecated,
        reference: &Type::Ref("crashdump"),
        record: &Type::Record("crashdump"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("VDI", Type::Ref("VDI")).required(),
            Field::constant("VM", Type::Ref("VM")).required(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[Verb::new("destroy", &[("self", Type::Ref("crashdump"))], Type::Void, Roles::POOL_OPERATOR)],
    };
}
