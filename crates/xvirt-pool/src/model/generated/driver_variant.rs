// Written by scripts/model.
//! The class `Driver_variant`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `Driver_variant`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverVariant {}

impl Class for DriverVariant {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "Driver_variant",
        lifecycle: Lifecycle::Prototyped,
        reference: &Type::Ref("Driver_variant"),
        record: &Type::Record("Driver_variant"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("driver", Type::Ref("Host_driver")).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("hardware_present", Type::Bool).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("name", Type::String).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("priority", Type::Float).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("status", Type::String).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("uuid", Type::String).required().lifecycle(Lifecycle::Prototyped),
            Field::dynamic("version", Type::String).required().lifecycle(Lifecycle::Prototyped),
        ],
        verbs: &[Verb::new("select", &[("self", Type::Ref("Driver_variant"))], Type::Void, Roles::POOL_ADMIN)
            .lifecycle(Lifecycle::Prototyped)],
    };
}
