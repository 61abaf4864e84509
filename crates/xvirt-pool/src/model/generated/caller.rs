// Written by scripts/model.
//! The class `Caller`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `Caller`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {}

impl Class for Caller {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "Caller",
        lifecycle: Lifecycle::Prototyped,
        reference: &Type::Ref("Caller"),
        record: &Type::Record("Caller"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("auto_registered", Type::Bool).lifecycle(Lifecycle::Prototyped),
            Field::constant("client_ip", Type::String).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("groups", Type::Set(&Type::String)).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("last_access", Type::DateTime).lifecycle(Lifecycle::Prototyped),
            Field::writable("name_description", Type::String, Roles::POOL_ADMIN).lifecycle(Lifecycle::Prototyped),
            Field::writable("name_label", Type::String, Roles::POOL_ADMIN).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("rate_limit", Type::Ref("Rate_limit")).lifecycle(Lifecycle::Prototyped),
            Field::constant("user_agent", Type::String).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("uuid", Type::String).required().lifecycle(Lifecycle::Prototyped),
        ],
        verbs: &[
            Verb::new(
                "add_group",
                &[("self", Type::Ref("Caller")), ("group", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new("create", &[("args", Type::Record("Caller"))], Type::Ref("Caller"), Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("destroy", &[("self", Type::Ref("Caller"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("query_all_usage", &[], Type::Set(&Type::Set(&Type::String)), Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("query_call_count", &[("self", Type::Ref("Caller"))], Type::Int, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("query_group_call_count", &[("group", Type::String)], Type::Int, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("query_group_token_usage", &[("group", Type::String)], Type::Float, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("query_token_usage", &[("self", Type::Ref("Caller"))], Type::Float, Roles::POOL_OPERATOR)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "remove_group",
                &[("self", Type::Ref("Caller")), ("group", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
        ],
    };
}
