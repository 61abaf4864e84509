//! Every verb that the model gives a class because of its fields, and every other one: answered rightly, or by name.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xvirt_pool::model::{CLASSES, Call, ClassTable, Field, FieldRule, Lifecycle, Type};

use crate::support::{Place, Service, ticking};

/// The classes of sessions, which a host by itself does not answer.
const OF_SESSIONS: [&str; 1] = ["session"];

/// An object of each class that can be made without hardware.
fn objects(service: &Service) -> BTreeMap<&'static str, Value> {
    let vm = service.create("web", &ticking());
    let sr = service.ok("SR.get_all", [])[0].clone();
    let vdi = service.ok("VDI.create", [json!({ "SR": sr, "virtual_size": 1 << 20, "type": "user" })]);
    let network = service.ok("network.create", [json!({ "name_label": "lab", "bridge": "br-lab" })]);
    service.ok("VBD.create", [json!({ "VM": vm, "VDI": vdi, "userdevice": "0", "type": "Disk" })]);
    service.ok("VIF.create", [json!({ "VM": vm, "network": network, "device": "0" })]);
    service.ok("task.create", [json!("task"), json!("")]);
    let uuid = service.field("VM", &vm, "uuid");
    service.ok("message.create", [json!("HELLO"), json!(3), json!("VM"), uuid, json!("")]);
    let first = |table: &&ClassTable| {
        if OF_SESSIONS.contains(&table.name) || table.call("get_all").is_none() {
            return None;
        }
        Some((table.name, service.ok(&format!("{}.get_all", table.name), []).get(0)?.clone()))
    };
    CLASSES.iter().filter_map(first).collect()
}

#[test]
fn each_verb_of_a_field_and_each_query_does_what_the_model_says() {
    let place = Place::new();
    let service = place.open();
    let objects = objects(&service);
    let mut answered = 0;
    for table in CLASSES.iter().filter(|table| !OF_SESSIONS.contains(&table.name)) {
        for (name, call) in table.calls() {
            let verb = format!("{}.{name}", table.name);
            if !matches!(call, Call::Own(_)) {
                match objects.get(table.name) {
                    Some(object) => check(&service, table, &verb, call, object),
                    None => check_without(&service, table, &verb, call),
                }
                answered += 1;
            }
        }
    }
    println!("{answered} verbs, {} classes with objects: {:?}", objects.len(), objects.keys());
    assert!(answered >= 1500, "only {answered} verbs were tried");
    for class in
        ["VM", "VBD", "VIF", "VDI", "SR", "PBD", "network", "host", "pool", "host_metrics", "VM_metrics", "task"]
    {
        assert!(objects.contains_key(class), "{class}");
    }
}

/// A verb of a class of which there is an object.
fn check(service: &Service, table: &'static ClassTable, verb: &str, call: Call, object: &Value) {
    let record = service.ok(&format!("{}.get_record", table.name), [object.clone()]);
    let all = || service.ok(&format!("{}.get_all", table.name), []);
    let now = |field: &Field| service.field(table.name, object, field.name);
    let contains = |list: &Value| list.as_array().unwrap().contains(object);
    let by_uuid = || json!(format!("field \"uuid\" = {}", record["uuid"]));
    match call {
        Call::Get(field) => assert_eq!(now(field), record[field.name], "{verb}"),
        Call::GetRecord => {
            let missing: Vec<_> = table.fields.iter().filter(|field| record.get(field.name).is_none()).collect();
            assert!(missing.is_empty(), "{verb} lacks {missing:?}");
        }
        Call::GetByUuid => assert_eq!(service.ok(verb, [record["uuid"].clone()]), *object, "{verb}"),
        Call::GetByNameLabel => assert!(contains(&service.ok(verb, [record["name_label"].clone()])), "{verb}"),
        Call::GetAll => assert!(contains(&service.ok(verb, [])), "{verb}"),
        Call::GetAllRecords => {
            let records = service.ok(verb, []);
            assert_eq!(records[object.as_str().unwrap()], record, "{verb}");
            assert_eq!(records.as_object().unwrap().len(), all().as_array().unwrap().len(), "{verb}");
        }
        Call::GetAllWhere => {
            assert_eq!(service.ok(verb, [by_uuid()]), json!([object]), "{verb}");
            assert_eq!(service.ok(verb, [json!("true")]), all(), "{verb}");
        }
        Call::GetAllRecordsWhere => {
            assert_eq!(service.ok(verb, [by_uuid()])[object.as_str().unwrap()], record, "{verb}");
            assert_eq!(service.ok(verb, [json!("not true")]), json!({}), "{verb}");
        }
        Call::Set(field) => set(service, verb, field, object, &record[field.name]),
        Call::Add(field) | Call::Remove(field) => {
            let Type::Set(element) = field.value_type else { panic!("{verb}") };
            let value = another(element);
            if field.rule != FieldRule::Kept || value.is_null() {
                // Removing what is not there is no change, and adding it is one that is refused by name.
                return refused_or_done(service, verb, [object.clone(), zero(element)]);
            }
            let adds = matches!(call, Call::Add(_));
            if !adds {
                service.ok(&verb.replacen("remove_", "add_", 1), [object.clone(), value.clone()]);
            }
            // Twice is as once.
            service.ok(verb, [object.clone(), value.clone()]);
            service.ok(verb, [object.clone(), value.clone()]);
            let count = now(field).as_array().unwrap().iter().filter(|one| **one == value).count();
            assert_eq!(count, usize::from(adds), "{verb}");
        }
        Call::AddTo(field) | Call::RemoveFrom(field) => {
            if !(field.rule == FieldRule::Kept && matches!(field.value_type, Type::Map(Type::String, Type::String))) {
                return refused_or_done(service, verb, parameters(table, call, object));
            }
            let (add, remove) = match call {
                Call::AddTo(_) => (verb.to_owned(), verb.replacen("add_to_", "remove_from_", 1)),
                _ => (verb.replacen("remove_from_", "add_to_", 1), verb.to_owned()),
            };
            let entry = [object.clone(), json!("xvirt-test"), json!("1")];
            service.ok(&add, entry.clone());
            assert_eq!(now(field)["xvirt-test"], "1", "{verb}");
            assert_eq!(service.code(&add, entry), "MAP_DUPLICATE_KEY", "{verb}");
            service.ok(&remove, [object.clone(), json!("xvirt-test")]);
            service.ok(&remove, [object.clone(), json!("xvirt-test")]);
            assert_eq!(now(field).get("xvirt-test"), None, "{verb}");
        }
        Call::Own(_) => panic!("{verb}"),
    }
}

/// A setter: the value that it has is always taken; another one, if the field is kept as clients set it.
fn set(service: &Service, verb: &str, field: &Field, object: &Value, value: &Value) {
    let class = verb.split('.').next().unwrap();
    service.ok(verb, [object.clone(), value.clone()]);
    assert_eq!(service.field(class, object, field.name), *value, "{verb}");
    let new = another(&field.value_type);
    if new.is_null() || new == *value {
        return;
    }
    match field.rule {
        FieldRule::Kept => {
            service.ok(verb, [object.clone(), new.clone()]);
            assert_eq!(service.field(class, object, field.name), new, "{verb}");
            service.ok(verb, [object.clone(), value.clone()]);
        }
        FieldRule::Fixed => {
            assert_eq!(service.code(verb, [object.clone(), new]), "VALUE_NOT_SUPPORTED", "{verb}");
            assert_eq!(service.field(class, object, field.name), *value, "{verb}");
        }
        FieldRule::Honoured => {}
    }
}

/// A verb of a class of which there is no object.
fn check_without(service: &Service, table: &'static ClassTable, verb: &str, call: Call) {
    let object = json!("OpaqueRef:b29c37b6-9dc9-4f0a-b8f0-7c3e0d9b5b3a");
    match call {
        Call::GetAll | Call::GetAllWhere => {
            let given = if matches!(call, Call::GetAll) { vec![] } else { vec![json!("true")] };
            assert_eq!(service.ok(verb, given), json!([]), "{verb}");
        }
        Call::GetAllRecords => assert_eq!(service.ok(verb, []), json!({}), "{verb}"),
        Call::GetAllRecordsWhere => assert_eq!(service.ok(verb, [json!("true")]), json!({}), "{verb}"),
        Call::GetByNameLabel => assert_eq!(service.ok(verb, [json!("x")]), json!([]), "{verb}"),
        Call::GetByUuid => assert_eq!(service.code(verb, [json!("x")]), "UUID_INVALID", "{verb}"),
        _ => assert_eq!(service.code(verb, parameters(table, call, &object)), "HANDLE_INVALID", "{verb}"),
    }
}

/// The change is made, or refused for its value.
fn refused_or_done(service: &Service, verb: &str, parameters: impl Into<Vec<Value>>) {
    if let Err(failure) = service.call(verb, parameters) {
        assert!(["VALUE_NOT_SUPPORTED", "INVALID_VALUE"].contains(&failure.code.as_str()), "{verb}: {failure}");
    }
}

fn parameters(table: &ClassTable, call: Call, object: &Value) -> Vec<Value> {
    let rest = call.parameters(table).into_iter().skip(1).map(|(_, value_type)| zero(&value_type));
    std::iter::once(object.clone()).chain(rest).collect()
}

/// A value of a type.
fn zero(value_type: &Type) -> Value {
    match value_type {
        Type::Int => json!(0),
        Type::Float => json!(0.0),
        Type::Bool => json!(false),
        Type::DateTime => json!("19700101T00:00:00Z"),
        Type::Ref(_) => json!("OpaqueRef:NULL"),
        Type::Enum(values) => json!(values.values[0]),
        Type::Set(_) => json!([]),
        Type::Map(..) | Type::Record(_) | Type::AnyRecord => json!({}),
        _ => json!(""),
    }
}

/// A value that a field does not have by itself; null if none is made up.
fn another(value_type: &Type) -> Value {
    match value_type {
        Type::String => json!("xvirt-test"),
        Type::Int => json!(77),
        Type::Set(Type::String) => json!(["xvirt-test"]),
        Type::Map(Type::String, Type::String) => json!({ "xvirt-test": "1" }),
        _ => Value::Null,
    }
}

#[test]
fn each_other_verb_is_answered_or_says_by_name_that_it_is_not() {
    let place = Place::new();
    let service = place.open();
    let listed = service.ok("system.listMethods", []);
    let listed: Vec<&str> = listed.as_array().unwrap().iter().map(|verb| verb.as_str().unwrap()).collect();
    let (mut own, mut refused) = (0, 0);
    for table in CLASSES.iter().filter(|table| !OF_SESSIONS.contains(&table.name)) {
        for verb in table.verbs {
            let name = format!("{}.{}", table.name, verb.name);
            let given: Vec<Value> = verb.parameters.iter().map(|(_, value_type)| zero(value_type)).collect();
            if listed.contains(&name.as_str()) {
                own += 1;
                let outcome = service.call(&name, given);
                let code = outcome.err().map(|failure| failure.code).unwrap_or_default();
                assert!(
                    !["NOT_IMPLEMENTED", "MESSAGE_METHOD_UNKNOWN", "MESSAGE_REMOVED"].contains(&code.as_str()),
                    "{name}"
                );
                continue;
            }
            refused += 1;
            let failure = service.call(&name, given).unwrap_err();
            match verb.lifecycle {
                Lifecycle::Removed => assert_eq!(failure.code, "MESSAGE_REMOVED", "{name}"),
                _ => assert_eq!((failure.code.as_str(), &failure.parameters[0]), ("NOT_IMPLEMENTED", &name)),
            }
        }
    }
    println!("{} verbs are answered, {own} of them their classes' own; {refused} are not", listed.len());
    assert!(listed.len() >= 1600, "only {} verbs are listed", listed.len());
    let unknown = |verb: &str| service.call(verb, []).unwrap_err();
    for verb in ["VM.fly", "nothing.get_all", "VM", "", "VM.set_uuid", "Async.VM.get_uuid"] {
        let failure = unknown(verb);
        assert_eq!((failure.code.as_str(), failure.parameters[0].as_str()), ("MESSAGE_METHOD_UNKNOWN", verb));
    }
}
