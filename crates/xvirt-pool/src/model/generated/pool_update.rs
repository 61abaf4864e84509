// Written by scripts/model.
//! The class `pool_update`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `pool_update`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolUpdate {}

impl Class for PoolUpdate {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "pool_update",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("pool_update"),
        record: &Type::Record("pool_update"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::constant("after_apply_guidance", Type::Set(&Type::Enum(enums::UpdateAfterApplyGuidance::TABLE))),
            Field::constant("enforce_homogeneity", Type::Bool),
            Field::dynamic("hosts", Type::Set(&Type::Ref("host"))).required(),
            Field::constant("installation_size", Type::Int),
            Field::constant("key", Type::String),
            Field::constant("name_description", Type::String),
            Field::constant("name_label", Type::String),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::dynamic("uuid", Type::String).required(),
            Field::constant("vdi", Type::Ref("VDI")).required(),
            Field::constant("version", Type::String),
        ],
        verbs: &[
            Verb::new(
                "apply",
                &[("self", Type::Ref("pool_update")), ("host", Type::Ref("host"))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("destroy", &[("self", Type::Ref("pool_update"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("introduce", &[("vdi", Type::Ref("VDI"))], Type::Ref("pool_update"), Roles::POOL_OPERATOR),
            Verb::new("pool_apply", &[("self", Type::Ref("pool_update"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("pool_clean", &[("self", Type::Ref("pool_update"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "precheck",
                &[("self", Type::Ref("pool_update")), ("host", Type::Ref("host"))],
                Type::Enum(enums::LivepatchStatus::TABLE),
                Roles::POOL_OPERATOR,
            ),
        ],
    };
}
