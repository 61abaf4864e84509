// Written by scripts/model.
//! The class `Cluster_host`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `Cluster_host`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterHost {}

impl Class for ClusterHost {
    const TABLE: &'static ClassTable =
        &ClassTable {
            name: "Cluster_host",
            lifecycle: Lifecycle::Published,
            reference: &Type::Ref("Cluster_host"),
            record: &Type::Record("Cluster_host"),
            whole: None,
            read: Roles::READ_ONLY,
            queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
            fields: &[
                Field::constant("PIF", Type::Ref("PIF")),
                Field::dynamic("allowed_operations", Type::Set(&Type::Enum(enums::ClusterHostOperation::TABLE))),
                Field::constant("cluster", Type::Ref("Cluster")),
                Field::dynamic(
                    "current_operations",
                    Type::Map(&Type::String, &Type::Enum(enums::ClusterHostOperation::TABLE)),
                ),
                Field::dynamic("enabled", Type::Bool),
                Field::constant("host", Type::Ref("host")),
                Field::dynamic("joined", Type::Bool).starts_as("true"),
                Field::dynamic("last_update_live", Type::DateTime).lifecycle(Lifecycle::Prototyped),
                Field::dynamic("live", Type::Bool).lifecycle(Lifecycle::Prototyped),
                Field::constant("other_config", Type::Map(&Type::String, &Type::String)),
                Field::dynamic("uuid", Type::String).required(),
            ],
            verbs: &[
                Verb::new(
                    "create",
                    &[("cluster", Type::Ref("Cluster")), ("host", Type::Ref("host")), ("pif", Type::Ref("PIF"))],
                    Type::Ref("Cluster_host"),
                    Roles::POOL_OPERATOR,
                )
                .errors(&["PIF_NOT_ATTACHED_TO_HOST", "NO_CLUSTER_HOSTS_REACHABLE"]),
                Verb::new("destroy", &[("self", Type::Ref("Cluster_host"))], Type::Void, Roles::POOL_OPERATOR)
                    .errors(&["CLUSTER_STACK_IN_USE", "CLUSTERING_DISABLED", "CLUSTER_HOST_IS_LAST"]),
                Verb::new("disable", &[("self", Type::Ref("Cluster_host"))], Type::Void, Roles::POOL_OPERATOR)
                    .errors(&["CLUSTER_STACK_IN_USE"]),
                Verb::new("enable", &[("self", Type::Ref("Cluster_host"))], Type::Void, Roles::POOL_OPERATOR)
                    .errors(&["PIF_ALLOWS_UNPLUG", "REQUIRED_PIF_IS_UNPLUGGED"]),
                Verb::new("force_destroy", &[("self", Type::Ref("Cluster_host"))], Type::Void, Roles::POOL_OPERATOR)
                    .errors(&["CLUSTER_STACK_IN_USE"]),
            ],
        };
}
