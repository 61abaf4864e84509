// Written by scripts/model.
//! The class `GPU_group`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `GPU_group`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuGroup {}

impl Class for GpuGroup {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "GPU_group",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("GPU_group"),
        record: &Type::Record("GPU_group"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("GPU_types", Type::Set(&Type::String)),
            Field::dynamic("PGPUs", Type::Set(&Type::Ref("PGPU"))).required(),
            Field::dynamic("VGPUs", Type::Set(&Type::Ref("VGPU"))).required(),
            Field::writable(
                "allocation_algorithm",
                Type::Enum(enums::AllocationAlgorithm::TABLE),
                Roles::POOL_OPERATOR,
            )
            .starts_as(r#""depth_first""#),
            Field::dynamic("enabled_VGPU_types", Type::Set(&Type::Ref("VGPU_type"))).required(),
            Field::writable("name_description", Type::String, Roles::POOL_OPERATOR),
            Field::writable("name_label", Type::String, Roles::POOL_OPERATOR),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::dynamic("supported_VGPU_types", Type::Set(&Type::Ref("VGPU_type"))).required(),
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
                Type::Ref("GPU_group"),
                Roles::POOL_OPERATOR,
            )
            .optional(3),
            Verb::new("destroy", &[("self", Type::Ref("GPU_group"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "get_remaining_capacity",
                &[("self", Type::Ref("GPU_group")), ("vgpu_type", Type::Ref("VGPU_type"))],
                Type::Int,
                Roles::READ_ONLY,
            ),
        ],
    };
}
