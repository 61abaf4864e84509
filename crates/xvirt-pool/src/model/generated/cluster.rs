// Written by scripts/model.
//! The class `Cluster`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `Cluster`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cluster {}

impl Class for Cluster {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "Cluster",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("Cluster"),
        record: &Type::Record("Cluster"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::ClusterOperation::TABLE))),
            Field::constant("cluster_config", Type::Map(&Type::String, &Type::String)),
            Field::dynamic("cluster_hosts", Type::Set(&Type::Ref("Cluster_host"))).required(),
            Field::constant("cluster_stack", Type::String).starts_as(r#""corosync""#),
            Field::constant("cluster_stack_version", Type::Int).starts_as("2").lifecycle(Lifecycle::Prototyped),
            Field::constant("cluster_token", Type::String),
            Field::dynamic("current_operations", Type::Map(&Type::String, &Type::Enum(enums::ClusterOperation::TABLE))),
            Field::dynamic("expected_hosts", Type::Int).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("is_quorate", Type::Bool).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("live_hosts", Type::Int).lifecycle(Lifecycle::Prototyped),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR),
            Field::dynamic("pending_forget", Type::Set(&Type::String)),
            Field::constant("pool_auto_join", Type::Bool).starts_as("true"),
            Field::dynamic("quorum", Type::Int).lifecycle(Lifecycle::Prototyped),
            Field::constant("token_timeout", Type::Float).starts_as("20.0"),
            Field::constant("token_timeout_coefficient", Type::Float).starts_as("1.0"),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[
                    ("PIF", Type::Ref("PIF")),
                    ("cluster_stack", Type::String),
                    ("pool_auto_join", Type::Bool),
                    ("token_timeout", Type::Float),
                    ("token_timeout_coefficient", Type::Float),
                ],
                Type::Ref("Cluster"),
                Roles::POOL_OPERATOR,
            )
            .optional(2)
            .errors(&[
                "INVALID_CLUSTER_STACK",
                "INVALID_VALUE",
                "PIF_ALLOWS_UNPLUG",
                "REQUIRED_PIF_IS_UNPLUGGED",
            ]),
            Verb::new("destroy", &[("self", Type::Ref("Cluster"))], Type::Void, Roles::POOL_OPERATOR)
                .errors(&["CLUSTER_DOES_NOT_HAVE_ONE_NODE", "CLUSTER_STACK_IN_USE"]),
            Verb::new("get_network", &[("self", Type::Ref("Cluster"))], Type::Ref("network"), Roles::READ_ONLY),
            Verb::new(
                "pool_create",
                &[
                    ("network", Type::Ref("network")),
                    ("cluster_stack", Type::String),
                    ("token_timeout", Type::Float),
                    ("token_timeout_coefficient", Type::Float),
                ],
                Type::Ref("Cluster"),
                Roles::POOL_OPERATOR,
            )
            .optional(2),
            Verb::new("pool_destroy", &[("self", Type::Ref("Cluster"))], Type::Void, Roles::POOL_OPERATOR).errors(&[
                "CLUSTER_STACK_IN_USE",
                "CLUSTERING_DISABLED",
                "CLUSTER_HOST_IS_LAST",
            ]),
            Verb::new("pool_force_destroy", &[("self", Type::Ref("Cluster"))], Type::Void, Roles::POOL_OPERATOR)
                .errors(&["CLUSTER_FORCE_DESTROY_FAILED"]),
            Verb::new("pool_resync", &[("self", Type::Ref("Cluster"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
