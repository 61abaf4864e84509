// Written by scripts/model.
//! The class `sr_stat`.

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Roles, Type};

/// The class `sr_stat`, of which xvirt has no objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrStat {}

impl Class for SrStat {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "sr_stat",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("sr_stat"),
        record: &Type::Record("sr_stat"),
        whole: None,
        read: Roles::NONE,
        queries: &[],
        fields: &[
            Field::dynamic("clustered", Type::Bool).required().read_by(Roles::NONE),
            Field::dynamic("free_space", Type::Int).required().read_by(Roles::NONE),
            Field::dynamic("health", Type::Enum(enums::SrHealth::TABLE)).required().read_by(Roles::NONE),
            Field::dynamic("name_description", Type::String).required().read_by(Roles::NONE),
            Field::dynamic("name_label", Type::String).required().read_by(Roles::NONE),
            Field::dynamic("total_space", Type::Int).required().read_by(Roles::NONE),
            Field::dynamic("uuid", Type::Option(&Type::String)).required().read_by(Roles::NONE),
        ],
        verbs: &[],
    };
}
