// Written by scripts/model.
//! The class `network_sriov`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `network_sriov`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkSriov {}

impl Class for NetworkSriov {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "network_sriov",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("network_sriov"),
        record: &Type::Record("network_sriov"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("configuration_mode", Type::Enum(enums::SriovConfigurationMode::TABLE))
                .starts_as(r#""unknown""#),
            Field::constant("logical_PIF", Type::Ref("PIF")),
            Field::constant("physical_PIF", Type::Ref("PIF")),
            Field::dynamic("requires_reboot", Type::Bool),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[("pif", Type::Ref("PIF")), ("network", Type::Ref("network"))],
                Type::Ref("network_sriov"),
                Roles::POOL_OPERATOR,
            ),
            Verb::new("destroy", &[("self", Type::Ref("network_sriov"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new("get_remaining_capacity", &[("self", Type::Ref("network_sriov"))], Type::Int, Roles::READ_ONLY),
        ],
    };
}
