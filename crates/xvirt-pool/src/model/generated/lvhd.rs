// Written by scripts/model.
//! The class `LVHD`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `LVHD`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lvhd {}

impl Class for Lvhd {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "LVHD",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("LVHD"),
        record: &Type::Record("LVHD"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid"],
        fields: &[Field::dynamic("uuid", Type::String).required()],
        verbs: &[Verb::new(
            "enable_thin_provisioning",
            &[
                ("host", Type::Ref("host")),
                ("SR", Type::Ref("SR")),
                ("initial_allocation", Type::Int),
                ("allocation_quantum", Type::Int),
            ],
            Type::String,
            Roles::POOL_ADMIN,
        )],
    };
}
