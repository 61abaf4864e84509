// Written by scripts/model.
//! The class `probe_result`.

use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type};

/// The class `probe_result`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {}

impl Class for ProbeResult {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "probe_result",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("probe_result"),
        record: &Type::Record("probe_result"),
        whole: None,
        read: Roles::NONE,
        queries: &[],
        fields: &[
            Field::dynamic("complete", Type::Bool).required().read_by(Roles::NONE),
            Field::dynamic("configuration", Type::Map(&Type::String, &Type::String)).required().read_by(Roles::NONE),
            Field::dynamic("extra_info", Type::Map(&Type::String, &Type::String)).required().read_by(Roles::NONE),
            Field::dynamic("sr", Type::Option(&Type::Record("sr_stat"))).required().read_by(Roles::NONE),
        ],
        verbs: &[],
    };
}
