// Written by scripts/model.
//! The class `VMSS`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `VMSS`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vmss {}

impl Class for Vmss {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VMSS",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("VMSS"),
        record: &Type::Record("VMSS"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("VMs", Type::Set(&Type::Ref("VM"))).required(),
            Field::writable("enabled", Type::Bool, Roles::POOL_OPERATOR).starts_as("true"),
            Field::constant("frequency", Type::Enum(enums::VmssFrequency::TABLE)).required(),
            Field::dynamic("last_run_time", Type::DateTime),
            Field::writable("name_description", Type::String, Roles::POOL_OPERATOR),
            Field::writable("name_label", Type::String, Roles::POOL_OPERATOR),
            Field::constant("retained_snapshots", Type::Int).starts_as("7"),
            Field::constant("schedule", Type::Map(&Type::String, &Type::String)),
            Field::constant("type", Type::Enum(enums::VmssType::TABLE)).required(),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "add_to_schedule",
                &[("self", Type::Ref("VMSS")), ("key", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("create", &[("args", Type::Record("VMSS"))], Type::Ref("VMSS"), Roles::POOL_OPERATOR),
            Verb::new("destroy", &[("self", Type::Ref("VMSS"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "remove_from_schedule",
                &[("self", Type::Ref("VMSS")), ("key", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_frequency",
                &[("self", Type::Ref("VMSS")), ("value", Type::Enum(enums::VmssFrequency::TABLE))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_last_run_time",
                &[("self", Type::Ref("VMSS")), ("value", Type::DateTime)],
                Type::Void,
                Roles::NONE,
            ),
            Verb::new(
                "set_retained_snapshots",
                &[("self", Type::Ref("VMSS")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_schedule",
                &[("self", Type::Ref("VMSS")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_type",
                &[("self", Type::Ref("VMSS")), ("value", Type::Enum(enums::VmssType::TABLE))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("snapshot_now", &[("vmss", Type::Ref("VMSS"))], Type::String, Roles::POOL_OPERATOR),
        ],
    };
}
