// Written by scripts/model.
//! The class `VLAN`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A VLAN on a host: what joins an interface that carries packets with its tag to one that carries them without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Vlan {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The interface that carries packets with the tag.
    #[serde(rename = "tagged_PIF")]
    pub tagged_pif: Ref<super::Pif>,
    /// The interface that connects the network of the VLAN.
    #[serde(rename = "untagged_PIF")]
    pub untagged_pif: Ref<super::Pif>,
    /// The tag: 0 to 4094.
    pub tag: i64,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
}

impl Default for Vlan {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            tagged_pif: Ref::NULL,
            untagged_pif: Ref::NULL,
            tag: -1,
            other_config: BTreeMap::new(),
        }
    }
}

impl Record for Vlan {}

impl Class for Vlan {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "VLAN",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("VLAN"),
        record: &Type::Record("VLAN"),
        whole: Some(whole::<Vlan>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR).kept(),
            Field::constant("tag", Type::Int).starts_as("-1").honoured(),
            Field::constant("tagged_PIF", Type::Ref("PIF")).honoured(),
            Field::dynamic("untagged_PIF", Type::Ref("PIF")).honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[("tagged_PIF", Type::Ref("PIF")), ("tag", Type::Int), ("network", Type::Ref("network"))],
                Type::Ref("VLAN"),
                Roles::POOL_OPERATOR,
            ),
            Verb::new("destroy", &[("self", Type::Ref("VLAN"))], Type::Void, Roles::POOL_OPERATOR),
        ],
    };
}
