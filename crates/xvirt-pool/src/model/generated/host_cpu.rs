// Written by scripts/model.
//! The class `host_cpu`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Ref, Roles, Type, record::whole};

/// A logical processor of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HostCpu {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The host.
    pub host: Ref<super::Host>,
    /// Its number on the host, from 0.
    pub number: i64,
    /// Who made it, such as `GenuineIntel`.
    pub vendor: String,
    /// MHz.
    pub speed: i64,
    /// Its name.
    pub modelname: String,
    /// Its family, as CPUID says it.
    pub family: i64,
    /// Its model, as CPUID says it.
    pub model: i64,
    /// Its stepping, as CPUID says it.
    pub stepping: String,
    /// Its features by the names of Linux.
    pub flags: String,
    /// Its features as words of CPUID in hexadecimal digits.
    pub features: String,
    /// Not honoured: always `0.0`.
    pub utilisation: f64,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
}

impl Record for HostCpu {}

impl Class for HostCpu {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "host_cpu",
        lifecycle: Lifecycle::Deprecated,
        reference: &Type::Ref("host_cpu"),
        record: &Type::Record("host_cpu"),
        whole: Some(whole::<HostCpu>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("family", Type::Int).required().honoured(),
            Field::dynamic("features", Type::String).required().honoured(),
            Field::dynamic("flags", Type::String).required().honoured(),
            Field::dynamic("host", Type::Ref("host")).required().honoured(),
            Field::dynamic("model", Type::Int).required().honoured(),
            Field::dynamic("modelname", Type::String).required().honoured(),
            Field::dynamic("number", Type::Int).required().honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR).kept(),
            Field::dynamic("speed", Type::Int).required().honoured(),
            Field::dynamic("stepping", Type::String).required().honoured(),
            Field::dynamic("utilisation", Type::Float).required(),
            Field::dynamic("uuid", Type::String).required().honoured(),
            Field::dynamic("vendor", Type::String).required().honoured(),
        ],
        verbs: &[],
    };
}
