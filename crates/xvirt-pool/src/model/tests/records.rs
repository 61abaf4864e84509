//! Records against tables.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::*;
use super::{default_record, with_objects};

#[test]
fn a_default_record_has_every_field_of_its_table_with_its_default() {
    assert_eq!(with_objects().count(), 30);
    for (class, whole) in with_objects() {
        let record = default_record(whole);
        let names: BTreeSet<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, class.fields.iter().map(|field| field.name).collect(), "{}", class.name);
        for field in class.fields {
            assert_eq!(record[field.name], field.default(), "{}.{}", class.name, field.name);
        }
        assert_eq!(whole(record.clone()), Ok(record));
    }
}

#[test]
fn the_defaults_of_all_classes_are_values_of_their_types() {
    for class in CLASSES {
        for field in class.fields {
            assert_eq!(class.conform(field, field.default()), Ok(field.default()), "{}.{}", class.name, field.name);
        }
    }
}

#[test]
fn what_is_looked_up_by_name_is_found() {
    assert_eq!((CLASSES.len(), ENUMERATIONS.len()), (72, 73));
    for table in CLASSES {
        assert_eq!(class(table.name).unwrap().name, table.name);
        assert!(table.fields.iter().all(|field| table.field(field.name).unwrap().name == field.name));
        assert!(table.verbs.iter().all(|verb| table.verb(verb.name).unwrap().name == verb.name));
    }
    assert!(ENUMERATIONS.iter().all(|one| enumeration(one.name).unwrap().name == one.name));
    assert!(ERROR_CODES.iter().all(|one| error_code(one.code).unwrap().code == one.code));
    assert!(class("vm").is_none() && enumeration("").is_none() && error_code("NONE").is_none());
    assert_eq!(error_code("VM_BAD_POWER_STATE").unwrap().parameters, Some(&["vm", "expected", "actual"][..]));
}

#[test]
fn every_name_that_a_type_mentions_exists() {
    fn mentioned(kind: &Type) {
        match kind {
            Type::Ref(name) | Type::Record(name) => assert!(class(name).is_some(), "{name}"),
            Type::Enum(one) => assert_eq!(enumeration(one.name), Some(*one)),
            Type::Set(inner) | Type::Option(inner) => mentioned(inner),
            Type::Map(key, value) => {
                mentioned(key);
                mentioned(value);
            }
            _ => {}
        }
    }
    for class in CLASSES {
        class.fields.iter().for_each(|field| mentioned(&field.value_type));
        for (_, call) in class.calls() {
            mentioned(&call.result(class));
            call.parameters(class).iter().for_each(|(_, kind)| mentioned(kind));
        }
    }
}

#[test]
fn enumerations_have_the_spellings_of_xenapi_and_no_others() {
    assert_eq!(VmPowerState::TABLE.values, ["Halted", "Paused", "Running", "Suspended"]);
    for state in VmPowerState::ALL {
        assert_eq!(state.to_string().parse(), Ok(*state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    assert_eq!(serde_json::from_str::<BondMode>("\"active-backup\"").unwrap(), BondMode::ActiveBackup);
    assert_eq!(
        "halted".parse::<VmPowerState>().unwrap_err().to_string(),
        "\"halted\" is not a value of vm_power_state; use one of: Halted, Paused, Running, Suspended"
    );
    assert!(serde_json::from_str::<VmPowerState>("\"Crashed\"").is_err());
}

#[test]
fn values_may_be_written_as_clients_write_them() {
    let record = json!({
        "uuid": "f0a1", "VCPUs_max": "4", "memory_static_max": 1_i64 << 40, "HVM_shadow_multiplier": 2, "affinity": "",
        "snapshot_time": "2024-01-31T12:00:01", "current_operations": { "OpaqueRef:1": "clean_shutdown" }, "unknown": {},
    });
    let vm = Vm::from_value(record).unwrap();
    assert_eq!((vm.uuid.as_str(), vm.vcpus_max, vm.memory_static_max), ("f0a1", 4, 1 << 40));
    assert_eq!((vm.hvm_shadow_multiplier, vm.affinity), (2.0, Ref::NULL));
    assert_eq!(vm.snapshot_time.to_string(), "20240131T12:00:01Z");
    assert_eq!(vm.current_operations["OpaqueRef:1"], VmOperations::CleanShutdown);
    let metrics =
        VmMetrics::from_value(json!({ "VCPUs_CPU": { "0": 3 }, "VCPUs_flags": { "1": ["running"] } })).unwrap();
    assert_eq!((metrics.vcpus_cpu[&0], metrics.vcpus_flags[&1].as_slice()), (3, &["running".to_owned()][..]));
    assert_eq!(metrics.to_value().unwrap()["VCPUs_CPU"], json!({ "0": 3 }));
}

#[test]
fn the_order_of_error_information_stays() {
    let error = json!(["VM_BAD_POWER_STATE", "OpaqueRef:1", "halted", "halted"]);
    let task = Task::from_value(json!({ "error_info": error })).unwrap();
    assert_eq!(task.to_value().unwrap()["error_info"], error);
}

#[test]
fn errors_say_where_what_is_expected_and_what_was_given() {
    let refused = |record| Vm::from_value(record).unwrap_err();
    for (record, message, code, parameters) in [
        (
            json!({ "memory_static_max": 1.5 }),
            "VM.memory_static_max is of the type `int`, not 1.5; give a value of that type",
            "FIELD_TYPE_ERROR",
            vec!["memory_static_max"],
        ),
        (
            json!({ "memory_static_max": "1 GiB" }),
            "VM.memory_static_max is of the type `int`, not \"1 GiB\"; give a whole number of at most 64 bits",
            "INVALID_VALUE",
            vec!["memory_static_max", "\"1 GiB\""],
        ),
        (
            json!({ "power_state": "running" }),
            "VM.power_state is of the type `enum vm_power_state`, not \"running\"; use one of: Halted, Paused, Running, \
             Suspended",
            "INVALID_VALUE",
            vec!["power_state", "\"running\""],
        ),
        (
            json!({ "other_config": { "a": null } }),
            "VM.other_config is of the type `(string -> string) map`, not null; give a value of that type",
            "FIELD_TYPE_ERROR",
            vec!["other_config"],
        ),
        (
            json!(["a", "b"]),
            "a record of VM is an object, not [\"a\",\"b\"]; give an object with the fields of the class",
            "FIELD_TYPE_ERROR",
            vec![""],
        ),
    ] {
        let error = refused(record);
        assert_eq!(
            (error.to_string().as_str(), error.code(), error.parameters()),
            (message, code, strings(parameters))
        );
    }
}

#[test]
fn a_field_that_is_not_honoured_cannot_be_changed() {
    let vm = class("VM").unwrap();
    let set = |name, value| vm.conform_set(vm.field(name).unwrap(), value);
    assert_eq!(set("PCI_bus", json!("")), Ok(json!("")));
    let error = set("PCI_bus", json!("0/0000:00:1f.6")).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.kind(), error.code()),
        (
            "VM.PCI_bus is always \"\", not \"0/0000:00:1f.6\"; leave it as it is: xvirt does not honour this field",
            ValueErrorKind::NotSupported,
            "VALUE_NOT_SUPPORTED"
        )
    );
    assert_eq!(error.parameters(), strings(vec!["VM.PCI_bus", "\"0/0000:00:1f.6\"", "always \"\""]));
    assert_eq!(set("tags", json!(["a"])), Ok(json!(["a"])));
    assert_eq!(set("affinity", json!("")), Ok(json!("OpaqueRef:NULL")));
}

#[test]
fn a_number_that_is_not_finite_is_refused() {
    let vm = Vm { hvm_shadow_multiplier: f64::NAN, ..Vm::default() };
    assert_eq!(vm.to_value().unwrap_err().field(), "HVM_shadow_multiplier");
}

/// The files change when XenAPI or what is honoured of it does: then this prints the new text.
#[test]
fn records_are_written_as_before() {
    for (name, golden) in [
        ("VM", include_str!("VM.json")),
        ("host_metrics", include_str!("host_metrics.json")),
        ("subject", include_str!("subject.json")),
    ] {
        let record = default_record(class(name).unwrap().whole.unwrap());
        let text = format!("{}\n", serde_json::to_string_pretty(&record).unwrap());
        assert!(text == golden, "{name}.json is to be:\n{text}");
        assert_eq!(serde_json::from_str::<Value>(golden).unwrap(), record);
    }
}

fn strings(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}
