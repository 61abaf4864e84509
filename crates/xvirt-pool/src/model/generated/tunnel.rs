// Written by scripts/model.
//! The class `tunnel`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `tunnel`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {}

impl Class for Tunnel {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "tunnel",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("tunnel"),
        record: &Type::Record("tunnel"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("access_PIF", Type::Ref("PIF")),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::writable("protocol", Type::Enum(enums::TunnelProtocol::TABLE), Roles::POOL_OPERATOR)
                .starts_as(r#""gre""#),
            Field::writable("status", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR)
                .starts_as(r#"{"active": "false"}"#),
            Field::constant("transport_PIF", Type::Ref("PIF")),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[
                    ("transport_PIF", Type::Ref("PIF")),
                    ("network", Type::Ref("network")),
                    ("protocol", Type::Enum(enums::TunnelProtocol::TABLE)),
                ],
                Type::Ref("tunnel"),
                Roles::POOL_OPERATOR,
            )
            .optional(1)
            .errors(&["OPENVSWITCH_NOT_ACTIVE", "TRANSPORT_PIF_NOT_CONFIGURED", "IS_TUNNEL_ACCESS_PIF"]),
            Verb::new("destroy", &[("self", Type::Ref("tunnel"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
