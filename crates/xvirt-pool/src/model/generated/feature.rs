// Written by scripts/model.
//! The class `Feature`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type};

/// The class `Feature`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {}

impl Class for Feature {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "Feature",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("Feature"),
        record: &Type::Record("Feature"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("enabled", Type::Bool),
            Field::constant("experimental", Type::Bool),
            Field::dynamic("host", Type::Ref("host")).required(),
            Field::constant("name_description", Type::String),
            Field::constant("name_label", Type::String),
            Field::dynamic("uuid", Type::String).required(),
            Field::constant("version", Type::String).starts_as(r#""1.0""#),
        ],
        verbs: &[],
    };
}
