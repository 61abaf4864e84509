// Written by scripts/model.
//! The class `VTPM`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `VTPM`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vtpm {}

impl Class for Vtpm {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VTPM",
        lifecycle: Lifecycle::Prototyped,
        reference: &Type::Ref("VTPM"),
        record: &Type::Record("VTPM"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("VM", Type::Ref("VM")).required(),
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::VtpmOperations::TABLE))),
            Field::dynamic("backend", Type::Ref("VM")),
            Field::dynamic("current_operations", Type::Map(&Type::String, &Type::Enum(enums::VtpmOperations::TABLE))),
            Field::dynamic("is_protected", Type::Bool).lifecycle(Lifecycle::Prototyped),
            Field::constant("is_unique", Type::Bool).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("persistence_backend", Type::Enum(enums::PersistenceBackend::TABLE))
                .starts_as(r#""xapi""#)
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[("vM", Type::Ref("VM")), ("is_unique", Type::Bool)],
                Type::Ref("VTPM"),
                Roles::VM_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new("destroy", &[("self", Type::Ref("VTPM"))], Type::Void, Roles::VM_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
        ],
    };
}
