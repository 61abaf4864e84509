// Written by scripts/model.
//! The class `pool_patch`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `pool_patch`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolPatch {}

impl Class for PoolPatch {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "pool_patch",
        lifecycle: Lifecycle::Deprecated,
        reference: &Type::Ref("pool_patch"),
        record: &Type::Record("pool_patch"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("after_apply_guidance", Type::Set(&Type::Enum(enums::AfterApplyGuidance::TABLE))),
            Field::dynamic("host_patches", Type::Set(&Type::Ref("host_patch"))).required(),
            Field::constant("name_description", Type::String),
            Field::constant("name_label", Type::String),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::dynamic("pool_applied", Type::Bool),
            Field::constant("pool_update", Type::Ref("pool_update")),
            Field::dynamic("size", Type::Int),
            Field::dynamic("uuid", Type::String).required(),
            Field::constant("version", Type::String),
        ],
        verbs: &[
            Verb::new(
                "apply",
                &[("self", Type::Ref("pool_patch")), ("host", Type::Ref("host"))],
                Type::String,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new("clean", &[("self", Type::Ref("pool_patch"))], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "clean_on_host",
                &[("self", Type::Ref("pool_patch")), ("host", Type::Ref("host"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Deprecated),
            Verb::new("destroy", &[("self", Type::Ref("pool_patch"))], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("pool_apply", &[("self", Type::Ref("pool_patch"))], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("pool_clean", &[("self", Type::Ref("pool_patch"))], Type::Void, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new(
                "precheck",
                &[("self", Type::Ref("pool_patch")), ("host", Type::Ref("host"))],
                Type::String,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Deprecated),
        ],
    };
}
