// Written by scripts/model.
//! The class `VGPU`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `VGPU`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vgpu {}

impl Class for Vgpu {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VGPU",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("VGPU"),
        record: &Type::Record("VGPU"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("GPU_group", Type::Ref("GPU_group")).required(),
            Field::dynamic("PCI", Type::Ref("PCI")),
            Field::dynamic("VM", Type::Ref("VM")).required(),
            Field::dynamic("compatibility_metadata", Type::Map(&Type::String, &Type::String)),
            Field::dynamic("currently_attached", Type::Bool),
            Field::dynamic("device", Type::String).starts_as(r#""0""#),
            Field::writable("extra_args", Type::String, Roles::POOL_OPERATOR),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::dynamic("resident_on", Type::Ref("PGPU")),
            Field::dynamic("scheduled_to_be_resident_on", Type::Ref("PGPU")),
            Field::dynamic("type", Type::Ref("VGPU_type")),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[
                    ("VM", Type::Ref("VM")),
                    ("GPU_group", Type::Ref("GPU_group")),
                    ("device", Type::String),
                    ("other_config", Type::Map(&Type::String, &Type::String)),
                    ("type", Type::Ref("VGPU_type")),
                ],
                Type::Ref("VGPU"),
                Roles::POOL_OPERATOR,
            )
            .optional(3),
            Verb::new("destroy", &[("self", Type::Ref("VGPU"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
