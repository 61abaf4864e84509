// Written by scripts/model.
//! The class `PCI`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `PCI`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pci {}

impl Class for Pci {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "PCI",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("PCI"),
        record: &Type::Record("PCI"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("class_id", Type::String),
            Field::constant("class_name", Type::String),
            Field::dynamic("dependencies", Type::Set(&Type::Ref("PCI"))).required(),
            Field::constant("device_id", Type::String),
            Field::constant("device_name", Type::String),
            Field::constant("driver_name", Type::String),
            Field::constant("host", Type::Ref("host")),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::constant("pci_id", Type::String),
            Field::constant("subsystem_device_id", Type::String),
            Field::constant("subsystem_device_name", Type::String),
            Field::constant("subsystem_vendor_id", Type::String),
            Field::constant("subsystem_vendor_name", Type::String),
            Field::dynamic("uuid", Type::String).required(),
            Field::constant("vendor_id", Type::String),
            Field::constant("vendor_name", Type::String),
        ],
        verbs: &[
            Verb::new(
                "disable_dom0_access",
                &[("self", Type::Ref("PCI"))],
                Type::Enum(enums::PciDom0Access::TABLE),
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "enable_dom0_access",
                &[("self", Type::Ref("PCI"))],
                Type::Enum(enums::PciDom0Access::TABLE),
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "get_dom0_access_status",
                &[("self", Type::Ref("PCI"))],
                Type::Enum(enums::PciDom0Access::TABLE),
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
        ],
    };
}
