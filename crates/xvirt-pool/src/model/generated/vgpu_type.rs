// Written by scripts/model.
//! The class `VGPU_type`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type};

/// The class `VGPU_type`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VgpuType {}

impl Class for VgpuType {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VGPU_type",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("VGPU_type"),
        record: &Type::Record("VGPU_type"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("VGPUs", Type::Set(&Type::Ref("VGPU"))).required(),
            Field::dynamic("compatible_types_in_vm", Type::Set(&Type::Ref("VGPU_type"))),
            Field::dynamic("enabled_on_GPU_groups", Type::Set(&Type::Ref("GPU_group"))).required(),
            Field::dynamic("enabled_on_PGPUs", Type::Set(&Type::Ref("PGPU"))).required(),
            Field::constant("experimental", Type::Bool),
            Field::constant("framebuffer_size", Type::Int),
            Field::constant("identifier", Type::String),
            Field::constant("implementation", Type::Enum(enums::VgpuTypeImplementation::TABLE))
                .starts_as(r#""passthrough""#),
            Field::constant("max_heads", Type::Int),
            Field::constant("max_resolution_x", Type::Int),
            Field::constant("max_resolution_y", Type::Int),
            Field::constant("model_name", Type::String),
            Field::dynamic("supported_on_GPU_groups", Type::Set(&Type::Ref("GPU_group"))).required(),
            Field::dynamic("supported_on_PGPUs", Type::Set(&Type::Ref("PGPU"))).required(),
            Field::dynamic("uuid", Type::String).required(),
            Field::constant("vendor_name", Type::String),
        ],
        verbs: &[],
    };
}
