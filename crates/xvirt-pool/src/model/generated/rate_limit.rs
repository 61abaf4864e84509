// Written by scripts/model.
//! The class `Rate_limit`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `Rate_limit`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {}

impl Class for RateLimit {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "Rate_limit",
        lifecycle: Lifecycle::Prototyped,
        reference: &Type::Ref("Rate_limit"),
        record: &Type::Record("Rate_limit"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::constant("burst_size", Type::Float).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("callers", Type::Set(&Type::Ref("Caller"))).required().lifecycle(Lifecycle::Prototyped),
            Field::constant("fill_rate", Type::Float).lifecycle(Lifecycle::Prototyped),
            Field::writable("name_description", Type::String, Roles::POOL_ADMIN).lifecycle(Lifecycle::Prototyped),
            Field::writable("name_label", Type::String, Roles::POOL_ADMIN).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("uuid", Type::String).required().lifecycle(Lifecycle::Prototyped),
        ],
        verbs: &[
            Verb::new(
                "add_caller",
                &[("self", Type::Ref("Rate_limit")), ("caller", Type::Ref("Caller"))],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new("create", &[("args", Type::Record("Rate_limit"))], Type::Ref("Rate_limit"), Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("destroy", &[("self", Type::Ref("Rate_limit"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "remove_caller",
                &[("self", Type::Ref("Rate_limit")), ("caller", Type::Ref("Caller"))],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_burst_size",
                &[("self", Type::Ref("Rate_limit")), ("value", Type::Float)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_fill_rate",
                &[("self", Type::Ref("Rate_limit")), ("value", Type::Float)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
        ],
    };
}
