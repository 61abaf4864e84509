// Written by scripts/model.
//! The class `message`.

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Roles, Type, Verb, record::whole};

/// Something that happened, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Message {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// What happened, as a code.
    pub name: String,
    /// How important it is: 1 to 5, where 1 is the most.
    pub priority: i64,
    /// The class of the object that it happened to.
    pub cls: enums::MessageClass,
    /// The UUID of that object.
    pub obj_uuid: String,
    /// When it happened.
    pub timestamp: DateTime,
    /// The details.
    pub body: String,
}

impl Default for Message {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            name: String::new(),
            priority: 5,
            cls: enums::MessageClass::Vm,
            obj_uuid: String::new(),
            timestamp: DateTime::EPOCH,
            body: String::new(),
        }
    }
}

impl Record for Message {}

impl Class for Message {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "message",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("message"),
        record: &Type::Record("message"),
        whole: Some(whole::<Message>),
        read: Roles::NONE,
        queries: &[],
        fields: &[
            Field::dynamic("body", Type::String).required().read_by(Roles::NONE).honoured(),
            Field::dynamic("cls", Type::Enum(enums::MessageClass::TABLE))
                .required()
                .starts_as(r#""VM""#)
                .read_by(Roles::NONE)
                .honoured(),
            Field::dynamic("name", Type::String).required().read_by(Roles::NONE).honoured(),
            Field::dynamic("obj_uuid", Type::String).required().read_by(Roles::NONE).honoured(),
            Field::dynamic("priority", Type::Int).required().starts_as("5").read_by(Roles::NONE).honoured(),
            Field::dynamic("timestamp", Type::DateTime).required().read_by(Roles::NONE).honoured(),
            Field::dynamic("uuid", Type::String).required().read_by(Roles::NONE).honoured(),
        ],
        verbs: &[
            Verb::new(
                "create",
                &[
                    ("name", Type::String),
                    ("priority", Type::Int),
                    ("cls", Type::Enum(enums::MessageClass::TABLE)),
                    ("obj_uuid", Type::String),
                    ("body", Type::String),
                ],
                Type::Ref("message"),
                Roles::POOL_OPERATOR,
            ),
            Verb::new("destroy", &[("self", Type::Ref("message"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "destroy_all",
                &[("filters", Type::Map(&Type::String, &Type::String))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "destroy_many",
                &[("messages", Type::Set(&Type::Ref("message")))],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .lifecycle(Lifecycle::Prototyped),
            Verb::new(
                "get",
                &[
                    ("cls", Type::Enum(enums::MessageClass::TABLE)),
                    ("obj_uuid", Type::String),
                    ("since", Type::DateTime),
                ],
                Type::Map(&Type::Ref("message"), &Type::Record("message")),
                Roles::READ_ONLY,
            ),
            Verb::new("get_all", &[], Type::Set(&Type::Ref("message")), Roles::READ_ONLY),
            Verb::new(
                "get_all_records",
                &[],
                Type::Map(&Type::Ref("message"), &Type::Record("message")),
                Roles::READ_ONLY,
            ),
            Verb::new(
                "get_all_records_where",
                &[("expr", Type::String)],
                Type::Map(&Type::Ref("message"), &Type::Record("message")),
                Roles::READ_ONLY,
            ),
            Verb::new("get_by_uuid", &[("uuid", Type::String)], Type::Ref("message"), Roles::READ_ONLY),
            Verb::new("get_record", &[("self", Type::Ref("message"))], Type::Record("message"), Roles::READ_ONLY),
            Verb::new(
                "get_since",
                &[("since", Type::DateTime)],
                Type::Map(&Type::Ref("message"), &Type::Record("message")),
                Roles::READ_ONLY,
            ),
        ],
    };
}
