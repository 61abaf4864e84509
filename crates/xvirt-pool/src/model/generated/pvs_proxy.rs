// Written by scripts/model.
//! The class `PVS_proxy`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `PVS_proxy`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PvsProxy {}

impl Class for PvsProxy {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "PVS_proxy",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("PVS_proxy"),
        record: &Type::Record("PVS_proxy"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("VIF", Type::Ref("VIF")),
            Field::dynamic("currently_attached", Type::Bool),
            Field::constant("site", Type::Ref("PVS_site")),
            Field::dynamic("status", Type::Enum(enums::PvsProxyStatus::TABLE)).starts_as(r#""stopped""#),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[("site", Type::Ref("PVS_site")), ("VIF", Type::Ref("VIF"))],
                Type::Ref("PVS_proxy"),
                Roles::POOL_OPERATOR,
            ),
            Verb::new("destroy", &[("self", Type::Ref("PVS_proxy"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
