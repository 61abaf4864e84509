//! The same call in both notations.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::method::method;
use super::super::xml_rpc::escaped;
use super::*;
use crate::model::{ClassTable, Type};

/// A request of XML-RPC as a client writes it.
fn xml_request(name: &str, parameters: &[Value]) -> Vec<u8> {
    let parameters: String = parameters.iter().map(|value| format!("<param>{}</param>", xml(value))).collect();
    format!("<?xml version='1.0'?>\n<methodCall>\n<methodName>{name}</methodName>\n<params>{parameters}</params></methodCall>")
        .into_bytes()
}

fn json_request(name: &str, parameters: &[Value]) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "method": name, "params": parameters, "id": 1 }).to_string().into_bytes()
}

fn xml(value: &Value) -> String {
    let inner = match value {
        Value::Null => "<nil/>".to_owned(),
        Value::Bool(truth) => format!("<boolean>{}</boolean>", u8::from(*truth)),
        Value::Number(number) if number.is_f64() => format!("<double>{}</double>", number.as_f64().unwrap()),
        // As clients write it.
        Value::Number(number) => format!("<string>{number}</string>"),
        Value::String(text) => format!("<string>{}</string>", escaped(text)),
        Value::Array(values) => format!("<array><data>{}</data></array>", values.iter().map(xml).collect::<String>()),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| format!("<member><name>{}</name>{}</member>", escaped(name), xml(value)));
            format!("<struct>{}</struct>", members.collect::<String>())
        }
    };
    format!("<value>{inner}</value>")
}

/// What a client reads in an answer of XML-RPC: the status and the value, as a value without types.
fn xml_answer(answer: &[u8]) -> (String, Value) {
    let text = std::str::from_utf8(answer).unwrap();
    let inner = text.strip_prefix("<?xml version=\"1.0\"?><methodResponse>").unwrap();
    let inner = inner.strip_suffix("</methodResponse>").unwrap();
    let call = format!("<methodCall><methodName>x</methodName>{inner}</methodCall>");
    let mut answer = xml_rpc::request(call.as_bytes()).unwrap().parameters.remove(0);
    let status = answer["Status"].as_str().unwrap().to_owned();
    let name = if status == "Success" { "Value" } else { "ErrorDescription" };
    (status, answer[name].take())
}

/// A value of a type that is not its zero.
fn sample(value_type: &Type) -> Value {
    match value_type {
        Type::Void => Value::Null,
        Type::String => json!(" <a> & \"b\" \r\n\t]]> ä \u{1f600} "),
        Type::Int => json!(i64::MIN + 1),
        Type::Float => json!(0.1),
        Type::Bool => json!(true),
        Type::DateTime => json!("20240131T12:00:01Z"),
        Type::Ref(_) => json!("OpaqueRef:6d3ab9ad-4b8f-4d77-8cf0-0b3b1f1dd6a1"),
        Type::Record(name) => record(crate::model::class(name).unwrap()),
        Type::AnyRecord => json!({ "name_label": "x" }),
        Type::EventBatch => json!({
            "token": "1,2", "valid_ref_counts": { "vm": 3 },
            "events": [{ "id": "1", "timestamp": "0.", "class": "vm", "operation": "mod", "ref": "OpaqueRef:NULL",
                         "snapshot": record(crate::model::class("VM").unwrap()) },
                       { "id": "2", "timestamp": "0.", "class": "vm", "operation": "del", "ref": "OpaqueRef:NULL" }],
        }),
        Type::Enum(one) => json!(one.values.last().unwrap()),
        Type::Set(of) => json!([sample(of), sample(of)]),
        Type::Map(key, of) => {
            let key = sample(key);
            let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            json!({ key: sample(of), })
        }
        Type::Option(some) => sample(some),
    }
}

fn record(table: &ClassTable) -> Value {
    table
        .fields
        .iter()
        .map(|field| (field.name.to_owned(), sample(&field.value_type)))
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .collect()
}

fn all_calls() -> impl Iterator<Item = (&'static ClassTable, String, Call)> {
    CLASSES.iter().flat_map(|table| table.calls().into_iter().map(|(name, call)| (*table, name, call)))
}

#[test]
fn parameters_of_every_verb_are_the_same_in_both_notations() {
    let mut types = std::collections::BTreeSet::new();
    for (table, name, call) in all_calls() {
        let name = format!("{}.{name}", table.name);
        let method = method(&name);
        let expected: Vec<Value> = call.parameters(table).iter().map(|(_, value_type)| sample(value_type)).collect();
        types.extend(call.parameters(table).iter().map(|(_, value_type)| value_type.to_string()));
        let mut given = expected.clone();
        if method.session {
            given.insert(0, json!("OpaqueRef:s"));
        }
        for (notation, body) in
            [(Notation::Json, json_request(&name, &given)), (Notation::Xml, xml_request(&name, &given))]
        {
            let head = notation.head(&body).unwrap();
            assert_eq!(head.method, name);
            let (session, values) = notation.parameters(&body, &method).unwrap();
            assert_eq!(session.is_some(), method.session);
            let conformed: Vec<Value> = call
                .parameters(table)
                .iter()
                .zip(values)
                .map(|((_, value_type), value)| value_type.conform(value).ok().unwrap())
                .collect();
            // The members of records are read by the verb.
            if !matches!(call.parameters(table).first(), Some((_, Type::Record(_)))) {
                assert_eq!(conformed, expected, "{name} {notation:?}");
            }
        }
    }
    assert!(types.len() > 30, "{types:?}");
}

#[test]
fn results_of_every_verb_are_the_same_in_both_notations() {
    for (table, name, call) in all_calls() {
        let name = format!("{}.{name}", table.name);
        let value = sample(&call.result(table));
        let replies = [Notation::Json, Notation::Xml].map(|notation| {
            let body = match notation {
                Notation::Json => json_request(&name, &[]),
                Notation::Xml => xml_request(&name, &[]),
            };
            notation.head(&body).unwrap().reply.write(&Ok(value.clone()), &name)
        });
        let json: Value = serde_json::from_slice(&replies[0]).unwrap();
        let (status, read) = xml_answer(&replies[1]);
        assert_eq!(status, "Success");
        assert_same(&json["result"], &read, &name);
    }
}

/// Whether a client sees the same, apart from numbers, which are texts in XML-RPC.
fn assert_same(json: &Value, xml: &Value, name: &str) {
    match (json, xml) {
        (Value::Number(number), Value::String(text)) if !number.is_f64() => {
            assert_eq!(number.to_string(), *text, "{name}")
        }
        (Value::Array(some), Value::Array(others)) => {
            assert_eq!(some.len(), others.len(), "{name}");
            some.iter().zip(others).for_each(|(one, other)| assert_same(one, other, name));
        }
        (Value::Object(some), Value::Object(others)) => {
            assert!(some.keys().eq(others.keys()), "{name}");
            some.values().zip(others.values()).for_each(|(one, other)| assert_same(one, other, name));
        }
        _ => assert_eq!(json, xml, "{name}"),
    }
}

#[test]
fn failures_are_a_list_with_the_code_first() {
    let failure = || Failure::new("VM_BAD_POWER_STATE", ["vm", "halted", "<running>"]);
    let (status, value) = xml_answer(&Notation::Xml.failure(&failure()));
    assert_eq!((status.as_str(), value), ("Failure", json!(["VM_BAD_POWER_STATE", "vm", "halted", "<running>"])));
}

#[test]
fn the_session_is_the_first_parameter() {
    let body = json_request("VM.start", &[json!("OpaqueRef:NULL"), json!("vm"), json!(false)]);
    let (session, values) = Notation::Json.parameters(&body, &method("VM.start")).unwrap();
    assert_eq!((session.as_deref(), values), (Some("OpaqueRef:NULL"), vec![json!("vm"), json!(false)]));
    let (session, values) = Notation::Json.parameters(&body, &method("session.login_with_password")).unwrap();
    assert_eq!((session, values.len()), (None, 3));
    for given in [vec![], vec![json!(1)]] {
        for (notation, body) in
            [(Notation::Json, json_request("VM.start", &given)), (Notation::Xml, xml_request("VM.start", &given))]
        {
            let refused = notation.parameters(&body, &method("VM.start"));
            // A number is a text in XML-RPC.
            assert!(notation == Notation::Xml && !given.is_empty() || refused.unwrap_err().code == "INTERNAL_ERROR");
        }
    }
}

#[test]
fn methods_are_listed_without_an_envelope() {
    let head = Notation::Xml.head(&xml_request(LIST_METHODS, &[])).unwrap();
    let text = String::from_utf8(head.reply.write(&Ok(methods()), LIST_METHODS)).unwrap();
    assert!(text.starts_with("<?xml version=\"1.0\"?><methodResponse><params><param><value><array><data><value>"));
    let names = methods();
    let names = names.as_array().unwrap();
    assert!(names.contains(&json!("VM.start")) && names.contains(&json!("event.from")) && names.len() > 1900);
    assert!(
        !names.contains(&json!("pool.enable_ssl_legacy"))
            && !names.iter().any(|name| name.as_str().unwrap().starts_with("Async."))
    );
}

#[test]
fn credentials_are_two_to_four_texts() {
    let verb = "session.login_with_password";
    let given = |count: usize| ["root", "secret", "2.0", "me"].iter().take(count).map(|text| json!(text)).collect();
    for count in 2..=4 {
        let read = credentials(verb, given(count)).ok().unwrap();
        assert_eq!((read.user.as_str(), read.password.as_str()), ("root", "secret"));
        assert_eq!(read.originator, if count == 4 { "me" } else { "" });
    }
    for wrong in [0, 1] {
        let failure = credentials(verb, given(wrong)).err().unwrap();
        assert_eq!(failure.code, "MESSAGE_PARAMETER_COUNT_MISMATCH");
    }
    assert!(credentials("session.slave_local_login_with_password", given(3)).is_err());
    assert_eq!(credentials(verb, vec![json!("root"), json!(1)]).err().unwrap().code, "FIELD_TYPE_ERROR");
}
