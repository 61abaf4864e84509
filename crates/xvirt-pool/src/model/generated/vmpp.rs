// Written by scripts/model.
//! The class `VMPP`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `VMPP`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vmpp {}

impl Class for Vmpp {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VMPP",
        lifecycle: Lifecycle::Removed,
        reference: &Type::Ref("VMPP"),
        record: &Type::Record("VMPP"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("VMs", Type::Set(&Type::Ref("VM"))).required().lifecycle(Lifecycle::Removed),
            Field::constant("alarm_config", Type::Map(&Type::String, &Type::String)).lifecycle(Lifecycle::Removed),
            Field::constant("archive_frequency", Type::Enum(enums::VmppArchiveFrequency::TABLE))
                .starts_as(r#""never""#)
                .lifecycle(Lifecycle::Removed),
            Field::dynamic("archive_last_run_time", Type::DateTime).lifecycle(Lifecycle::Removed),
            Field::constant("archive_schedule", Type::Map(&Type::String, &Type::String)).lifecycle(Lifecycle::Removed),
            Field::constant("archive_target_config", Type::Map(&Type::String, &Type::String))
                .lifecycle(Lifecycle::Removed),
            Field::constant("archive_target_type", Type::Enum(enums::VmppArchiveTargetType::TABLE))
                .starts_as(r#""none""#)
                .lifecycle(Lifecycle::Removed),
            Field::constant("backup_frequency", Type::Enum(enums::VmppBackupFrequency::TABLE))
                .starts_as(r#""daily""#)
                .lifecycle(Lifecycle::Removed),
            Field::dynamic("backup_last_run_time", Type::DateTime).lifecycle(Lifecycle::Removed),
            Field::constant("backup_retention_value", Type::Int).starts_as("7").lifecycle(Lifecycle::Removed),
            Field::constant("backup_schedule", Type::Map(&Type::String, &Type::String)).lifecycle(Lifecycle::Removed),
            Field::writable("backup_type", Type::Enum(enums::VmppBackupType::TABLE), Roles::POOL_OPERATOR)
                .starts_as(r#""snapshot""#)
                .lifecycle(Lifecycle::Removed),
            Field::constant("is_alarm_enabled", Type::Bool).lifecycle(Lifecycle::Removed),
            Field::dynamic("is_archive_running", Type::Bool).required().lifecycle(Lifecycle::Removed),
            Field::dynamic("is_backup_running", Type::Bool).required().lifecycle(Lifecycle::Removed),
            Field::writable("is_policy_enabled", Type::Bool, Roles::POOL_OPERATOR)
                .starts_as("true")
                .lifecycle(Lifecycle::Removed),
            Field::writable("name_description", Type::String, Roles::POOL_OPERATOR).lifecycle(Lifecycle::Removed),
            Field::writable("name_label", Type::String, Roles::POOL_OPERATOR).lifecycle(Lifecycle::Removed),
            Field::dynamic("recent_alerts", Type::Set(&Type::String)).lifecycle(Lifecycle::Removed),
            Field::dynamic("uuid", Type::String).required().lifecycle(Lifecycle::Removed),
        ],
        verbs: &[
            Verb::new(
                "add_to_alarm_config",
                &[("self", Type::Ref("VMPP")), ("key", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "add_to_archive_schedule",
                &[("self", Type::Ref("VMPP")), ("key", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "add_to_archive_target_config",
                &[("self", Type::Ref("VMPP")), ("key", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "add_to_backup_schedule",
                &[("self", Type::Ref("VMPP")), ("key", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new("archive_now", &[("snapshot", Type::Ref("VM"))], Type::String, Roles::VM_POWER_ADMIN)
                .lifecycle(Lifecycle::Removed),
            Verb::new("create", &[("args", Type::Record("VMPP"))], Type::Ref("VMPP"), Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Removed),
            Verb::new("destroy", &[("self", Type::Ref("VMPP"))], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Removed),
            Verb::new(
                "get_alerts",
                &[("vmpp", Type::Ref("VMPP")), ("hours_from_now", Type::Int)],
                Type::Set(&Type::String),
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new("protect_now", &[("vmpp", Type::Ref("VMPP"))], Type::String, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Removed),
            Verb::new(
                "remove_from_alarm_config",
                &[("self", Type::Ref("VMPP")), ("key", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "remove_from_archive_schedule",
                &[("self", Type::Ref("VMPP")), ("key", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "remove_from_archive_target_config",
                &[("self", Type::Ref("VMPP")), ("key", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "remove_from_backup_schedule",
                &[("self", Type::Ref("VMPP")), ("key", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_alarm_config",
                &[("self", Type::Ref("VMPP")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_archive_frequency",
                &[("self", Type::Ref("VMPP")), ("value", Type::Enum(enums::VmppArchiveFrequency::TABLE))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_archive_last_run_time",
                &[("self", Type::Ref("VMPP")), ("value", Type::DateTime)],
                Type::Void,
                Roles::NONE,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_archive_schedule",
                &[("self", Type::Ref("VMPP")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_archive_target_config",
                &[("self", Type::Ref("VMPP")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_archive_target_type",
                &[("self", Type::Ref("VMPP")), ("value", Type::Enum(enums::VmppArchiveTargetType::TABLE))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_backup_frequency",
                &[("self", Type::Ref("VMPP")), ("value", Type::Enum(enums::VmppBackupFrequency::TABLE))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_backup_last_run_time",
                &[("self", Type::Ref("VMPP")), ("value", Type::DateTime)],
                Type::Void,
                Roles::NONE,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_backup_retention_value",
                &[("self", Type::Ref("VMPP")), ("value", Type::Int)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_backup_schedule",
                &[("self", Type::Ref("VMPP")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
            Verb::new(
                "set_is_alarm_enabled",
                &[("self", Type::Ref("VMPP")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Removed),
        ],
    };
}
