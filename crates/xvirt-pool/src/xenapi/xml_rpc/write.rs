//! Writes answers of XML-RPC, without white space between elements: there are clients that do not skip it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::escaped;
use crate::model::{CLASSES, ClassTable, Type, class};
use crate::operation::Failure;

/// What is around a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// A struct that says that the call succeeded.
    Status,
    /// Nothing: `system.listMethods` is not XenAPI's.
    None,
}

/// The answer: the result of a verb, of this type if it is known, or its failure.
pub(crate) fn response(outcome: &Result<Value, Failure>, result: Option<Type>, envelope: Envelope) -> Vec<u8> {
    let mut out = String::from("<?xml version=\"1.0\"?><methodResponse><params><param><value>");
    match outcome {
        Ok(value) if envelope == Envelope::None => write(&mut out, value, result.as_ref()),
        Ok(value) => {
            out.push_str(
                "<struct><member><name>Status</name><value>Success</value></member><member><name>Value</name>",
            );
            element(&mut out, value, result.as_ref());
            out.push_str("</member></struct>");
        }
        Err(Failure { code, parameters }) => {
            out.push_str("<struct><member><name>Status</name><value>Failure</value></member>");
            out.push_str("<member><name>ErrorDescription</name><value><array><data>");
            for text in std::iter::once(code).chain(parameters) {
                out.push_str("<value>");
                out.push_str(&escaped(text));
                out.push_str("</value>");
            }
            out.push_str("</data></array></value></member></struct>");
        }
    }
    out.push_str("</value></param></params></methodResponse>");
    out.into_bytes()
}

fn element(out: &mut String, value: &Value, value_type: Option<&Type>) {
    out.push_str("<value>");
    write(out, value, value_type);
    out.push_str("</value>");
}

/// Writes a value: of a type if that is known, else of one that it could have.
fn write(out: &mut String, value: &Value, value_type: Option<&Type>) {
    match (value, value_type) {
        (Value::String(text), Some(Type::DateTime)) => {
            out.push_str("<dateTime.iso8601>");
            out.push_str(&escaped(text));
            out.push_str("</dateTime.iso8601>");
        }
        (_, Some(Type::Option(some))) => write(out, value, Some(some)),
        (Value::Null, _) => {}
        // A text and a whole number have no element of their own.
        (Value::String(text), _) => out.push_str(&escaped(text)),
        (Value::Bool(truth), _) => out.push_str(if *truth { BOOLEAN_1 } else { BOOLEAN_0 }),
        (Value::Number(number), value_type) => {
            let is_float = number.is_f64() || value_type == Some(&Type::Float);
            // Writing to a text does not fail.
            let _ = match number.as_f64().filter(|_| is_float) {
                Some(float) => write!(out, "<double>{float}</double>"),
                None => write!(out, "{number}"),
            };
        }
        (Value::Array(values), value_type) => {
            let of = if let Some(Type::Set(of)) = value_type { Some(*of) } else { None };
            out.push_str("<array><data>");
            values.iter().for_each(|value| element(out, value, of));
            out.push_str("</data></array>");
        }
        (Value::Object(members), Some(Type::Record(name))) => match class(name) {
            Some(table) if table.name == EVENT => event(out, members),
            table => record(out, members, table),
        },
        (Value::Object(members), Some(Type::Map(_, of))) => structure(out, members, |_| Some(of)),
        (Value::Object(members), Some(Type::EventBatch)) => batch(out, members),
        (Value::Object(members), _) => structure(out, members, |_| None),
    }
}

const BOOLEAN_0: &str = "<boolean>0</boolean>";
const BOOLEAN_1: &str = "<boolean>1</boolean>";
const EVENT: &str = "event";

fn structure<'a>(out: &mut String, members: &Map<String, Value>, of: impl Fn(&str) -> Option<&'a Type>) {
    out.push_str("<struct>");
    for (name, value) in members {
        member(out, name, |out| element(out, value, of(name)));
    }
    out.push_str("</struct>");
}

fn member(out: &mut String, name: &str, write_value: impl FnOnce(&mut String)) {
    out.push_str("<member><name>");
    out.push_str(&escaped(name));
    out.push_str("</name>");
    write_value(out);
    out.push_str("</member>");
}

fn record(out: &mut String, members: &Map<String, Value>, table: Option<&'static ClassTable>) {
    structure(out, members, |name| table?.field(name).map(|field| &field.value_type));
}

/// The result of `event.from`.
fn batch(out: &mut String, members: &Map<String, Value>) {
    out.push_str("<struct>");
    for (name, value) in members {
        member(out, name, |out| match (name.as_str(), value) {
            ("valid_ref_counts", Value::Object(counts)) => {
                out.push_str("<value><struct>");
                for (class, count) in counts {
                    // A client compares them with numbers, so these have a type.
                    member(out, class, |out| {
                        let _ = write!(out, "<value><i4>{count}</i4></value>");
                    });
                }
                out.push_str("</struct></value>");
            }
            ("events", value) => element(out, value, Some(&Type::Set(&Type::Record(EVENT)))),
            (_, value) => element(out, value, None),
        });
    }
    out.push_str("</struct>");
}

/// An event: its snapshot is a record of its class; all else is text.
fn event(out: &mut String, members: &Map<String, Value>) {
    let name = members.get("class").and_then(Value::as_str).unwrap_or_default();
    let table = CLASSES.iter().find(|table| table.name.eq_ignore_ascii_case(name)).copied();
    out.push_str("<struct>");
    for (name, value) in members {
        member(out, name, |out| match value {
            Value::Object(snapshot) => {
                out.push_str("<value>");
                record(out, snapshot, table);
                out.push_str("</value>");
            }
            other => element(out, other, None),
        });
    }
    out.push_str("</struct>");
}
