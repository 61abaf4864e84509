// Written by scripts/model.
//! The class `auth`.

use crate::model::{Class, ClassTable, Lifecycle, Roles, Type, Verb};

/// The class `auth`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {}

impl Class for Auth {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "auth",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("auth"),
        record: &Type::Record("auth"),
        whole: None,
        read: Roles::NONE,
        queries: &[],
        fields: &[],
        verbs: &[
            Verb::new(
                "get_group_membership",
                &[("subject_identifier", Type::String)],
                Type::Set(&Type::String),
                Roles::READ_ONLY,
            ),
            Verb::new("get_subject_identifier", &[("subject_name", Type::String)], Type::String, Roles::READ_ONLY),
            Verb::new(
                "get_subject_information_from_identifier",
                &[("subject_identifier", Type::String)],
                Type::Map(&Type::String, &Type::String),
                Roles::READ_ONLY,
            ),
        ],
    };
}
