// Written by scripts/model.
//! The class `Repository`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type, Verb};

/// The class `Repository`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repository {}

impl Class for Repository {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "Repository",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("Repository"),
        record: &Type::Record("Repository"),
        whole: None,
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"],
        fields: &[
            Field::constant("binary_url", Type::String),
            Field::constant("certificate", Type::String).lifecycle(Lifecycle::Prototyped),
            Field::constant("gpgkey_path", Type::String).lifecycle(Lifecycle::Prototyped),
            Field::dynamic("hash", Type::String),
            Field::writable("name_description", Type::String, Roles::POOL_OPERATOR.with_client_cert()),
            Field::writable("name_label", Type::String, Roles::POOL_OPERATOR.with_client_cert()),
            Field::constant("origin", Type::Enum(enums::RepositoryOrigin::TABLE))
                .starts_as(r#""remote""#)
                .lifecycle(Lifecycle::Prototyped),
            Field::constant("source_url", Type::String),
            Field::dynamic("up_to_date", Type::Bool).lifecycle(Lifecycle::Removed),
            Field::constant("update", Type::Bool),
            Field::dynamic("uuid", Type::String).required(),
        ],
        verbs: &[
            Verb::new(
                "forget",
                &[("self", Type::Ref("Repository"))],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            ),
            Verb::new(
                "introduce",
                &[
                    ("name_label", Type::String),
                    ("name_description", Type::String),
                    ("binary_url", Type::String),
                    ("source_url", Type::String),
                    ("update", Type::Bool),
                    ("gpgkey_path", Type::String),
                ],
                Type::Ref("Repository"),
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .optional(1),
            Verb::new(
                "introduce_bundle",
                &[("name_label", Type::String), ("name_description", Type::String)],
                Type::Ref("Repository"),
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "introduce_remote_pool",
                &[
                    ("name_label", Type::String),
                    ("name_description", Type::String),
                    ("binary_url", Type::String),
                    ("certificate", Type::String),
                ],
                Type::Ref("Repository"),
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "set_gpgkey_path",
                &[("self", Type::Ref("Repository")), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR.with_client_cert(),
            )
            .lifecycle(Lifecycle::Prototyped),
        ],
    };
}
