//! What clients learn of changes, as they ask for it.

use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};
use xvirt_pool::operation::Verbs as _;

use crate::needs_kvm;
use crate::support::{PATIENCE, Place, Service, me, record, ticking};

/// Longer than any test takes.
const LONG: f64 = 60.0;

impl Service {
    /// The events after a token, and the next token.
    fn from(&self, classes: &[&str], token: &str, timeout: f64) -> (Vec<Value>, String) {
        let batch = self.ok("event.from", [json!(classes), json!(token), json!(timeout)]);
        (batch["events"].as_array().unwrap().clone(), batch["token"].as_str().unwrap().to_owned())
    }

    /// Waits for an event of an object after which its record is as wanted.
    fn until(&self, class: &str, object: &Value, wanted: impl Fn(&Value) -> bool) {
        let subscription = format!("{class}/{}", object.as_str().unwrap());
        let deadline = std::time::Instant::now() + PATIENCE;
        let mut token = String::new();
        loop {
            let (events, next) = self.from(&[&subscription], &token, LONG);
            if events.iter().any(|event| wanted(&event["snapshot"])) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{events:?}");
            token = next;
        }
    }
}

fn names(events: &[Value]) -> Vec<(&str, &str)> {
    events.iter().map(|event| (event["class"].as_str().unwrap(), event["operation"].as_str().unwrap())).collect()
}

#[test]
fn events_are_as_clients_expect_them() {
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    let batch = service.ok("event.from", [json!(["VM", "nothing"]), json!(""), json!(LONG)]);
    let event = &batch["events"][0];
    assert_eq!(event["snapshot"], service.ok("VM.get_record", [vm.clone()]));
    assert_eq!((&event["class"], &event["operation"], &event["ref"]), (&json!("vm"), &json!("add"), &vm));
    assert!(event["id"].is_string() && event["timestamp"].is_string(), "{event}");
    let counts = batch["valid_ref_counts"].as_object().unwrap();
    for class in ["task", "vm", "pool", "pbd", "message", "pvs_site"] {
        let all = service.ok(&format!("{}.get_all", spelled(class)), []);
        assert_eq!(counts[class], json!(all.as_array().unwrap().len()), "{class}");
    }

    // What came and went is nothing; all changes of one object are one event; who is gone has no snapshot.
    let token = batch["token"].as_str().unwrap();
    let short = service.create("short", &ticking());
    service.ok("VM.destroy", [short]);
    let new = service.create("new", &ticking());
    service.ok("VM.set_name_label", [new.clone(), json!("newer")]);
    service.ok("pool.set_name_label", [service.ok("pool.get_all", [])[0].clone(), json!("lab")]);
    service.ok("message.create", [json!("HELLO"), json!(3), json!("VM"), service.field("VM", &new, "uuid"), json!("")]);
    service.ok("VM.destroy", [vm.clone()]);
    let (events, next) = service.from(&["vm", "pool", "message"], token, LONG);
    assert_eq!(names(&events), [("message", "add"), ("vm", "add"), ("pool", "mod"), ("vm", "del")]);
    assert_eq!((&events[1]["snapshot"]["name_label"], events[3].get("snapshot")), (&json!("newer"), None));
    assert!(next.as_str() > token);
    // The end of the time is no error.
    let (events, same) = service.from(&["vm"], &next, 0.0);
    assert_eq!((events, same), (vec![], next.clone()));

    // A token is good for later services.
    service.ok("VM.destroy", [new]);
    drop(service);
    let service = place.open();
    assert_eq!(names(&service.from(&["vm"], &next, LONG).0), [("vm", "del")]);
    assert_eq!(names(&service.from(&["vm", "host"], "", LONG).0), [("host", "add")]);
    assert_eq!(service.code("event.from", [json!(["*"]), json!("1"), json!(0)]), "EVENT_FROM_TOKEN_PARSE_FAILURE");
    assert_eq!(service.code("event.from", [json!(["a/b/c"]), json!(""), json!(0)]), "EVENT_SUBSCRIPTION_PARSE_FAILURE");
}

fn spelled(class: &str) -> &str {
    let all = xvirt_pool::model::CLASSES;
    all.iter().find(|table| table.name.eq_ignore_ascii_case(class)).unwrap().name
}

#[test]
fn an_injected_event_is_seen_from_its_token_and_by_who_waits() {
    let place = Place::new();
    let service = Arc::new(place.open());
    let pool = service.ok("pool.get_all", [])[0].clone();
    let (_, begin) = service.from(&["pool"], "", LONG);
    let waits = {
        let (service, begin) = (Arc::clone(&service), begin.clone());
        thread::spawn(move || service.from(&["pool"], &begin, LONG))
    };
    let token = service.ok("event.inject", [json!("pool"), pool.clone()]);
    let (events, later) = waits.join().unwrap();
    assert_eq!((names(&events), &events[0]["ref"]), (vec![("pool", "mod")], &pool));
    assert!(later.as_str() > token.as_str().unwrap());
    assert_eq!(names(&service.from(&["pool"], token.as_str().unwrap(), LONG).0), [("pool", "mod")]);
    assert_eq!(service.code("event.inject", [json!("pool"), json!("OpaqueRef:NULL")]), "HANDLE_INVALID");
    assert_eq!(service.code("event.inject", [json!("Pool"), pool]), "HANDLE_INVALID");
}

#[test]
fn the_old_verbs_tell_what_was_registered_for() {
    let place = Place::new();
    let service = place.open();
    assert_eq!(service.code("event.next", []), "SESSION_NOT_REGISTERED");
    service.ok("event.register", [json!(["vm"])]);
    let vm = service.create("web", &ticking());
    let events = service.ok("event.next", []);
    let event = &events[0];
    assert_eq!((&event["operation"], &event["ref"]), (&json!("add"), &vm));
    assert!(event["id"].is_u64() && event["timestamp"].as_str().unwrap().ends_with('Z'), "{event}");
    service.ok("VM.destroy", [vm]);
    assert_eq!(service.ok("event.next", [])[0]["operation"], "del");
    assert!(service.ok("event.get_current_id", []).as_u64().unwrap() > 0);
    service.ok("event.unregister", [json!(["VM"])]);
    assert_eq!(service.code("event.next", []), "SESSION_NOT_REGISTERED");
}

#[test]
fn waits_end_with_the_session_and_with_the_service() {
    let place = Place::new();
    let service = Arc::new(place.open());
    let (_, token) = service.from(&["vm"], "", 0.0);
    let waits = || {
        let (service, token) = (Arc::clone(&service), token.clone());
        thread::spawn(move || service.code("event.from", [json!(["vm"]), json!(token), json!(LONG)]))
    };
    let one = waits();
    while !one.is_finished() {
        service.0.forget_caller(&me());
        thread::yield_now();
    }
    assert_eq!(one.join().unwrap(), "SESSION_INVALID");
    let other = waits();
    service.0.end_waits();
    assert_eq!(other.join().unwrap(), "INTERNAL_ERROR");
    assert_eq!(service.code("event.from", [json!(["vm"]), json!(""), json!(0)]), "INTERNAL_ERROR");
}

#[test]
fn clients_have_tasks_of_their_own() {
    let place = Place::new();
    let service = place.open();
    let task = service.ok("task.create", [json!("copy"), json!("of a disk")]);
    service.ok("task.set_progress", [task.clone(), json!(1)]);
    service.ok("task.set_progress", [task.clone(), json!(0.5)]);
    assert_eq!(service.code("task.set_progress", [task.clone(), json!(2)]), "INVALID_VALUE");
    service.ok("task.set_result", [task.clone(), json!("<value>x</value>")]);
    service.ok("task.set_error_info", [task.clone(), json!(["A", "b"])]);
    // Destroying it only says that it is not needed after its end.
    service.ok("task.destroy", [task.clone()]);
    service.ok("task.cancel", [task.clone()]);
    assert_eq!(service.field("task", &task, "status"), "cancelling");
    service.ok("task.set_status", [task.clone(), json!("cancelled")]);
    let record = service.ok("task.get_record", [task.clone()]);
    assert_eq!((&record["result"], &record["error_info"]), (&json!("<value>x</value>"), &json!(["A", "b"])));
    assert_ne!(record["finished"], json!("19700101T00:00:00Z"));
    assert_eq!(service.code("task.cancel", [task.clone()]), "OPERATION_NOT_ALLOWED");
    service.ok("task.destroy", [task.clone()]);
    assert_eq!(service.code("task.get_record", [task]), "HANDLE_INVALID");

    let created = service.ok("Async.VM.create", [record_of("web")]);
    let ended = service.wait_task(&created);
    let vm = service.ok("VM.get_by_name_label", [json!("web")])[0].clone();
    assert_eq!(ended["result"], format!("<value>{}</value>", vm.as_str().unwrap()));
}

fn record_of(name: &str) -> Value {
    record(name, &ticking())
}

#[test]
fn the_records_of_a_host_say_what_clients_read() {
    let place = Place::new();
    let service = place.open();
    let pool = &service.ok("pool.get_all_records", []);
    let pool = pool.as_object().unwrap().values().next().unwrap();
    let host = service.ok("host.get_record", [pool["master"].clone()]);
    assert_eq!(pool["restrictions"]["restrict_vtpm"], "true");
    assert_eq!((&host["API_version_major"], &host["API_version_minor"]), (&json!(2), &json!(21)));
    let versions = host["software_version"].as_object().unwrap();
    assert_eq!(versions["product_version"], "8.3.0");
    assert!(versions.contains_key("xapi") && versions.values().all(Value::is_string), "{versions:?}");
    assert!(host["other_config"]["agent_start_time"].as_str().unwrap().parse::<f64>().unwrap() > 0.0);
    assert_eq!(host["enabled"], true);
    assert!(!host["address"].as_str().unwrap().is_empty());
    assert_eq!(host["PBDs"], service.ok("PBD.get_all", []));
    assert_ne!(host["PBDs"][0], service.ok("SR.get_all", [])[0], "references are of one object");
    let cpus = service.ok("host_cpu.get_all", []);
    assert_eq!(host["cpu_info"]["cpu_count"], cpus.as_array().unwrap().len().to_string());
    assert_eq!(host["host_CPUs"].as_array().unwrap().len(), cpus.as_array().unwrap().len());
    let metrics = service.ok("host_metrics.get_record", [host["metrics"].clone()]);
    assert_eq!(metrics["memory_free"], service.ok("host.compute_free_memory", [pool["master"].clone()]));
    assert!(metrics["memory_total"].as_i64() > metrics["memory_free"].as_i64());
}

#[test]
fn what_may_be_done_follows_the_run_of_a_vm_and_is_told() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    let host = service.ok("host.get_all", [])[0].clone();
    let sr = service.ok("SR.get_all", [])[0].clone();
    let vdi = service.ok("VDI.create", [json!({ "SR": sr, "virtual_size": 1 << 20, "type": "user" })]);
    let vbd = service.ok("VBD.create", [json!({ "VM": vm, "VDI": vdi, "userdevice": "autodetect", "type": "Disk" })]);
    let has = |class: &str, object: &Value, operation: &str| {
        let allowed = service.field(class, object, "allowed_operations");
        allowed.as_array().unwrap().iter().any(|one| one == operation)
    };
    assert!(has("VM", &vm, "start") && has("VBD", &vbd, "attach") && has("VDI", &vdi, "destroy"));
    let places = service.ok("VM.get_allowed_VBD_devices", [vm.clone()]);
    assert_eq!(places[0], "1");
    let metrics = service.field("VM", &vm, "metrics");
    assert_eq!(service.field("VM_metrics", &metrics, "VCPUs_number"), 0);
    let (_, token) = service.from(&["*"], "", LONG);
    let free = service.ok("host.compute_free_memory", [host.clone()]);

    service.ok("VM.start", [vm.clone(), json!(false), json!(false)]);
    let (events, _) = service.from(&["*"], &token, LONG);
    for class in ["vm", "vbd", "vdi", "vm_metrics", "vm_guest_metrics", "host", "host_metrics", "console", "task"] {
        assert!(events.iter().any(|event| event["class"] == class), "{class}: {:?}", names(&events));
    }
    assert!(has("VM", &vm, "clean_shutdown") && has("VBD", &vbd, "unplug") && !has("VDI", &vdi, "destroy"));
    assert_eq!(service.field("host", &host, "resident_VMs"), json!([vm]));
    assert_eq!(service.field("VM_metrics", &metrics, "VCPUs_number"), 1);
    let console = service.field("VM", &vm, "consoles")[0].clone();
    let location = service.field("console", &console, "location");
    let address = service.field("host", &host, "address");
    let expected = format!("https://{}/console?uuid=", address.as_str().unwrap());
    assert!(location.as_str().unwrap().starts_with(&expected), "{location}");
    let guest = service.field("VM", &vm, "guest_metrics");
    assert_eq!(service.field("VM_guest_metrics", &guest, "networks"), json!({}));
    let measured = service.field("host", &host, "metrics");
    let less = service.field("host_metrics", &measured, "memory_free");
    assert!(less.as_i64() < free.as_i64());
    assert_eq!(less, service.ok("host.compute_free_memory", [host.clone()]));

    let stopping = service.ok("Async.VM.hard_shutdown", [vm.clone()]);
    service.until("task", &stopping, |task| task["status"] == "success");
    assert_eq!(service.field("host", &host, "resident_VMs"), json!([]));
    assert_eq!(service.field("host_metrics", &measured, "memory_free"), free);
    assert!(has("VBD", &vbd, "attach") && has("VDI", &vdi, "destroy"));
    // What its guest said outlives its run.
    service.ok("VM_guest_metrics.get_record", [guest]);
    service.ok("VM.destroy", [vm]);
    assert_eq!(service.code("VM_metrics.get_record", [metrics]), "HANDLE_INVALID");
}

#[test]
fn many_wait_at_once() {
    let place = Place::new();
    let service = Arc::new(place.open());
    let (_, token) = service.from(&["*"], "", LONG);
    let waits: Vec<_> = (0..100)
        .map(|_| {
            let (service, token) = (Arc::clone(&service), token.clone());
            thread::spawn(move || service.0.call(&me(), "event.from", vec![json!(["vm"]), json!(token), json!(LONG)]))
        })
        .collect();
    let vm = service.create("web", &ticking());
    for wait in waits {
        assert_eq!(wait.join().unwrap().unwrap()["events"][0]["ref"], vm);
    }
}
