// Written by scripts/model.
//! The class `SDN_controller`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `SDN_controller`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdnController {}

impl Class for SdnController {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "SDN_controller",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("SDN_controller"),
        record: &Type::Record("SDN_controller"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("address", Type::String),
            Field::constant("port", Type::Int),
            Field::constant("protocol", Type::Enum(enums::SdnControllerProtocol::TABLE)).starts_as(r#""ssl""#),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new("forget", &[("self", Type::Ref("SDN_controller"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "introduce",
                &[
                    ("protocol", Type::Enum(enums::SdnControllerProtocol::TABLE)),
                    ("address", Type::String),
                    ("port", Type::Int),
                ],
                Type::Ref("SDN_controller"),
                Roles::POOL_OPERATOR,
            )
            .optional(3),
        ],
    };
}
