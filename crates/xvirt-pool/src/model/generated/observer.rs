// Written by scripts/model.
//! The class `Observer`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `Observer`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observer {}

impl Class for Observer {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "Observer",
        lifecycle: Lifecycle::Prototyped,
        reference: &Type::Ref("Observer"),
        record: &Type::Record("Observer"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::constant("attributes", Type::Map(&Type::String, &Type::String)).lifecycle(Lifecycle::Prototyped),
            Field::constant("components", Type::Set(&Type::String)).lifecycle(Lifecycle::Prototyped),
            Field::constant("enabled", Type::Bool).lifecycle(Lifecycle::Prototyped),
            Field::constant("endpoints", Type::Set(&Type::String)).lifecycle(Lifecycle::Prototyped),
            Field::constant("hosts", Type::Set(&Type::Ref("host"))).lifecycle(Lifecycle::Prototyped),
            Field::writable("name_description", Type::String, Roles::POOL_ADMIN),
            Field::writable("name_label", Type::String, Roles::POOL_ADMIN),
            Field::dynamic("uuid", Type::String).required().lifecycle(Lifecycle::Prototyped),
        ],
        verbs: &[
            Verb::new("create", &[("args", Type::Record("Observer"))], Type::Ref("Observer"), Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new("destroy", &[("self", Type::Ref("Observer"))], Type::Void, Roles::POOL_ADMIN)
                .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_attributes",
                &[("self", Type::Ref("Observer")), ("value", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_components",
                &[("self", Type::Ref("Observer")), ("value", Type::Set(&Type::String))],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_enabled",
                &[("self", Type::Ref("Observer")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_endpoints",
                &[("self", Type::Ref("Observer")), ("value", Type::Set(&Type::String))],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_hosts",
                &[("self", Type::Ref("Observer")), ("value", Type::Set(&Type::Ref("host")))],
                Type::Void,
                Roles::POOL_ADMIN,
            )
            .lifecycle(Lifecycle::Prototyped),
        ],
    };
}
