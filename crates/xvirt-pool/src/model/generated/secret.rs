// Written by scripts/model.
//! The class `secret`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Roles, Type, Verb, record::whole};

/// A text that other objects refer to instead of having it, such as a password.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Secret {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The text. It is in no event and no log.
    pub value: String,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
}

impl Record for Secret {}

impl Class for Secret {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "secret",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("secret"),
        record: &Type::Record("secret"),
        whole: Some(whole::<Secret>),
        read: Roles::POOL_OPERATOR,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR).kept(),
            Field::dynamic("uuid", Type::String).required().read_by(Roles::POOL_OPERATOR).honoured(),
            Field::writable("value", Type::String, Roles::POOL_OPERATOR)
                .required()
                .read_by(Roles::POOL_OPERATOR)
                .honoured(),
        ],
        verbs: &[
            Verb::new("create", &[("args", Type::Record("secret"))], Type::Ref("secret"), Roles::POOL_OPERATOR),
            Verb::new("destroy", &[("self", Type::Ref("secret"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
