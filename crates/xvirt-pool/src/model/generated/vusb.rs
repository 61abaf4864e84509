// Written by scripts/model.
//! The class `VUSB`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `VUSB`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vusb {}

impl Class for Vusb {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VUSB",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("VUSB"),
        record: &Type::Record("VUSB"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("USB_group", Type::Ref("USB_group")).required(),
            Field::dynamic("VM", Type::Ref("VM")).required(),
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::VusbOperations::TABLE))),
            Field::dynamic("current_operations", Type::Map(&Type::String, &Type::Enum(enums::VusbOperations::TABLE))),
            Field::dynamic("currently_attached", Type::Bool),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_ADMIN),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[
                    ("VM", Type::Ref("VM")),
                    ("USB_group", Type::Ref("USB_group")),
                    ("other_config", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Ref("VUSB"),
                Roles::POOL_ADMIN,
            )
            .optional(1),
            Verb::new("destroy", &[("self", Type::Ref("VUSB"))], Type::Void, Roles::POOL_ADMIN),
            Verb::new("unplug", &[("self", Type::Ref("VUSB"))], Type::Void, Roles::POOL_ADMIN),
        ],
    };
}
