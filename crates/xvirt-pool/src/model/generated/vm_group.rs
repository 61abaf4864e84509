// Written by scripts/model.
//! The class `VM_group`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `VM_group`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmGroup {}

impl Class for VmGroup {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VM_group",
        lifecycle: Lifecycle::Prototyped,
        reference: &Type::Ref("VM_group"),
        record: &Type::Record("VM_group"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("VMs", Type::Set(&Type::Ref("VM"))).required().lifecycle(Lifecycle::Prototyped),
            Field::writable("name_description", Type::String, Roles::VM_ADMIN),
            Field::writable("name_label", Type::String, Roles::VM_ADMIN),
            Field::constant("placement", Type::Enum(enums::PlacementPolicy::TABLE))
                .starts_as(r#""normal""#)
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new("create", &[("args", Type::Record("VM_group"))], Type::Ref("VM_group"), Roles::VM_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("destroy", &[("self", Type::Ref("VM_group"))], Type::Void, Roles::VM_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
        ],
    };
}
