// Written by scripts/model.
//! The class `PGPU`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `PGPU`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pgpu {}

impl Class for Pgpu {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "PGPU",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("PGPU"),
        record: &Type::Record("PGPU"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("GPU_group", Type::Ref("GPU_group")),
            Field::constant("PCI", Type::Ref("PCI")),
            Field::dynamic("compatibility_metadata", Type::Map(&Type::String, &Type::String)),
            Field::dynamic("dom0_access", Type::Enum(enums::PciDom0Access::TABLE))
                .starts_as(r#""enabled""#)
                .lifecycle(Lifecycle::Deprecated),
            Field::dynamic("enabled_VGPU_types", Type::Set(&Type::Ref("VGPU_type"))).required(),
            Field::dynamic("host", Type::Ref("host")),
            Field::dynamic("is_system_display_device", Type::Bool),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::dynamic("resident_VGPUs", Type::Set(&Type::Ref("VGPU"))).required(),
            Field::dynamic("supported_VGPU_max_capacities", Type::Map(&Type::Ref("VGPU_type"), &Type::Int)),
            Field::dynamic("supported_VGPU_types", Type::Set(&Type::Ref("VGPU_type"))).required(),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "add_enabled_VGPU_types",
                &[("self", Type::Ref("PGPU")), ("value", Type::Ref("VGPU_type"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "disable_dom0_access",
                &[("self", Type::Ref("PGPU"))],
                Type::Enum(enums::PciDom0Access::TABLE),
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "enable_dom0_access",
                &[("self", Type::Ref("PGPU"))],
                Type::Enum(enums::PciDom0Access::TABLE),
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "get_remaining_capacity",
                &[("self", Type::Ref("PGPU")), ("vgpu_type", Type::Ref("VGPU_type"))],
                Type::Int,
                Roles::READ_ONLY,
            ),
            Verb::new(
                "remove_enabled_VGPU_types",
                &[("self", Type::Ref("PGPU")), ("value", Type::Ref("VGPU_type"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_GPU_group",
                &[("self", Type::Ref("PGPU")), ("value", Type::Ref("GPU_group"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_enabled_VGPU_types",
                &[("self", Type::Ref("PGPU")), ("value", Type::Set(&Type::Ref("VGPU_type")))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
        ],
    };
}
