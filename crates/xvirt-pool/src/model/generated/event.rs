// Written by scripts/model.
//! The class `event`.

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Roles, Type, Verb, record::whole};

/// A change of an object, as `event.from` tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Event {
    /// The record after the change; empty for an object that is gone.
    pub snapshot: serde_json::Value,
    /// Its number, by which nothing should be concluded.
    pub id: i64,
    /// When it was told.
    pub timestamp: DateTime,
    /// The class of the object, in lower case.
    pub class: String,
    /// Whether the object is new, has changed, or is gone.
    pub operation: enums::EventOperation,
    /// The reference of the object.
    pub r#ref: String,
    /// The UUID of the object.
    pub obj_uuid: String,
}

impl Default for Event {
    fn default() -> Self {
        Self {
            snapshot: serde_json::json!({}),
            id: 0,
            timestamp: DateTime::EPOCH,
            class: String::new(),
            operation: enums::EventOperation::Mod,
            r#ref: String::new(),
            obj_uuid: String::new(),
        }
    }
}

impl Record for Event {}

impl Class for Event {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "event",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("event"),
        record: &Type::Record("event"),
        whole: Some(whole::<Event>),
        read: Roles::NONE,
        queries: &[],
        fields: &[
            Field::constant("class", Type::String).required().read_by(Roles::NONE).honoured(),
            Field::constant("id", Type::Int).required().read_by(Roles::NONE).honoured(),
            Field::constant("obj_uuid", Type::String)
                .required()
                .read_by(Roles::NONE)
                .lifecycle(Lifecycle::Deprecated)
                .honoured(),
            Field::constant("operation", Type::Enum(enums::EventOperation::TABLE))
                .required()
                .starts_as(r#""mod""#)
                .read_by(Roles::NONE)
                .honoured(),
            Field::constant("ref", Type::String).required().read_by(Roles::NONE).honoured(),
            Field::dynamic("snapshot", Type::AnyRecord).required().read_by(Roles::NONE).honoured(),
            Field::constant("timestamp", Type::DateTime)
                .required()
                .read_by(Roles::NONE)
                .lifecycle(Lifecycle::Deprecated)
                .honoured(),
        ],
        verbs: &[
            Verb::new(
                "from",
                &[("classes", Type::Set(&Type::String)), ("token", Type::String), ("timeout", Type::Float)],
                Type::EventBatch,
                Roles::READ_ONLY,
            )
            .errors(&["EVENT_FROM_TOKEN_PARSE_FAILURE", "EVENT_SUBSCRIPTION_PARSE_FAILURE"]),
            Verb::new("get_current_id", &[], Type::Int, Roles::READ_ONLY),
            Verb::new("inject", &[("class", Type::String), ("ref", Type::String)], Type::String, Roles::READ_ONLY),
            Verb::new("next", &[], Type::Set(&Type::Record("event")), Roles::READ_ONLY)
                .errors(&["SESSION_NOT_REGISTERED", "EVENTS_LOST", "EVENT_SUBSCRIPTION_PARSE_FAILURE"])
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("register", &[("classes", Type::Set(&Type::String))], Type::Void, Roles::READ_ONLY)
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("unregister", &[("classes", Type::Set(&Type::String))], Type::Void, Roles::READ_ONLY)
                .lifecycle(Lifecycle::Deprecated),
        ],
    };
}
