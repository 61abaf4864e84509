// Written by scripts/model.
//! The class `Bond`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `Bond`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bond {}

impl Class for Bond {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "Bond",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("Bond"),
        record: &Type::Record("Bond"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("auto_update_mac", Type::Bool).starts_as("true"),
            Field::dynamic("links_up", Type::Int),
            Field::constant("master", Type::Ref("PIF")),
            Field::dynamic("mode", Type::Enum(enums::BondMode::TABLE)).starts_as(r#""balance-slb""#),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::dynamic("primary_slave", Type::Ref("PIF")),
            Field::dynamic("properties", Type::Map(&Type::String, &Type::String)),
            Field::dynamic("slaves", Type::Set(&Type::Ref("PIF"))).required(),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[
                    ("network", Type::Ref("network")),
                    ("members", Type::Set(&Type::Ref("PIF"))),
                    ("MAC", Type::String),
                    ("mode", Type::Enum(enums::BondMode::TABLE)),
                    ("properties", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Ref("Bond"),
                Roles::POOL_OPERATOR,
            )
            .optional(2),
            Verb::new("destroy", &[("self", Type::Ref("Bond"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "set_mode",
                &[("self", Type::Ref("Bond")), ("value", Type::Enum(enums::BondMode::TABLE))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_property",
                &[("self", Type::Ref("Bond")), ("name", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
        ],
    };
}
