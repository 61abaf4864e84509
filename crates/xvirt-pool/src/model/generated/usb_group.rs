// Written by scripts/model.
//! The class `USB_group`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `USB_group`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsbGroup {}

impl Class for UsbGroup {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "USB_group",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("USB_group"),
        record: &Type::Record("USB_group"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("PUSBs", Type::Set(&Type::Ref("PUSB"))).required(),
            Field::dynamic("VUSBs", Type::Set(&Type::Ref("VUSB"))).required(),
            Field::writable("name_description", Type::String, Roles::POOL_ADMIN),
            Field::writable("name_label", Type::String, Roles::POOL_ADMIN),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_ADMIN),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[
                    ("name_label", Type::String),
                    ("name_description", Type::String),
                    ("other_config", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Ref("USB_group"),
                Roles::POOL_ADMIN,
            )
            .optional(3),
            Verb::new("destroy", &[("self", Type::Ref("USB_group"))], Type::Void, Roles::POOL_ADMIN),
        ],
    };
}
