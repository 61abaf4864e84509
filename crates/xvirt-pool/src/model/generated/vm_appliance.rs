// Written by scripts/model.
//! The class `VM_appliance`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `VM_appliance`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmAppliance {}

impl Class for VmAppliance {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VM_appliance",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("VM_appliance"),
        record: &Type::Record("VM_appliance"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("VMs", Type::Set(&Type::Ref("VM"))).required(),
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::VmApplianceOperation::TABLE))),
            Field::dynamic(
                "current_operations",
                Type::Map(&Type::String, &Type::Enum(enums::VmApplianceOperation::TABLE)),
            ),
            Field::writable("name_description", Type::String, Roles::POOL_OPERATOR),
            Field::writable("name_label", Type::String, Roles::POOL_OPERATOR),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "assert_can_be_recovered",
                &[("self", Type::Ref("VM_appliance")), ("session_to", Type::Ref("session"))],
                Type::Void,
                Roles::READ_ONLY,
            )
            .errors(&["VM_REQUIRES_SR"]),
            Verb::new("clean_shutdown", &[("self", Type::Ref("VM_appliance"))], Type::Void, Roles::POOL_OPERATOR)
                .errors(&["OPERATION_PARTIALLY_FAILED"]),
            Verb::new(
                "create",
                &[("args", Type::Record("VM_appliance"))],
                Type::Ref("VM_appliance"),
                Roles::POOL_OPERATOR,
            ),
            Verb::new("destroy", &[("self", Type::Ref("VM_appliance"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "get_SRs_required_for_recovery",
                &[("self", Type::Ref("VM_appliance")), ("session_to", Type::Ref("session"))],
                Type::Set(&Type::Ref("SR")),
                Roles::READ_ONLY,
            ),
            Verb::new("hard_shutdown", &[("self", Type::Ref("VM_appliance"))], Type::Void, Roles::POOL_OPERATOR)
                .errors(&["OPERATION_PARTIALLY_FAILED"]),
            Verb::new(
                "recover",
                &[("self", Type::Ref("VM_appliance")), ("session_to", Type::Ref("session")), ("force", Type::Bool)],
                Type::Void,
                Roles::READ_ONLY,
            )
            .errors(&["VM_REQUIRES_SR"]),
            Verb::new("shutdown", &[("self", Type::Ref("VM_appliance"))], Type::Void, Roles::POOL_OPERATOR)
                .errors(&["OPERATION_PARTIALLY_FAILED"]),
            Verb::new(
                "start",
                &[("self", Type::Ref("VM_appliance")), ("paused", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .errors(&["OPERATION_PARTIALLY_FAILED"]),
        ],
    };
}
