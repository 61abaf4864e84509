// Written by scripts/model.
//! The class `console`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A console of a running virtual machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Console {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// What it speaks: `vt100` is text.
    pub protocol: enums::ConsoleProtocol,
    /// Where to connect to it: a URL of the host that runs the VM.
    pub location: String,
    /// The VM.
    #[serde(rename = "VM")]
    pub vm: Ref<super::Vm>,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            protocol: enums::ConsoleProtocol::Vt100,
            location: String::new(),
            vm: Ref::NULL,
            other_config: BTreeMap::new(),
        }
    }
}

impl Record for Console {}

impl Class for Console {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "console",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("console"),
        record: &Type::Record("console"),
        whole: Some(whole::<Console>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("VM", Type::Ref("VM")).required().honoured(),
            Field::dynamic("location", Type::String).required().honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::VM_ADMIN).required().kept(),
            Field::dynamic("protocol", Type::Enum(enums::ConsoleProtocol::TABLE))
                .required()
                .starts_as(r#""vt100""#)
                .honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[
            Verb::new("create", &[("args", Type::Record("console"))], Type::Ref("console"), Roles::VM_ADMIN),
            Verb::new("destroy", &[("self", Type::Ref("console"))], Type::Void, Roles::VM_ADMIN),
        ],
    };
}
