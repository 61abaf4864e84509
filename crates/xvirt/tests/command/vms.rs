//! The verbs of VMs.

use serde_json::{Value, json};

use crate::support::{Ending, Service};

#[test]
fn vms_are_listed_by_name_without_templates() {
    let service = Service::new();
    let (web, database) = (service.fake.vm("web", "Running"), service.fake.vm("database", "Halted"));
    let template = service.fake.vm("template", "Halted");
    service.fake.objects.lock().unwrap().get_mut(&format!("OpaqueRef:{template}")).unwrap()["is_a_template"] =
        json!(true);
    let ran = service.run(&["vm", "list"]);
    let expected = format!(
        "NAME      STATE    VCPUS  MEMORY   WORKER  UUID\ndatabase  Halted   1      512 MiB          {database}\n\
         web       Running  1      512 MiB  0.9.0   {web}\n"
    );
    assert_eq!((ran.status, ran.stdout, ran.stderr), (Some(0), expected, String::new()));
    let listed: Vec<Value> = serde_json::from_str(&service.run(&["vm", "list", "--json"]).stdout).unwrap();
    assert_eq!(listed.iter().map(|vm| vm["uuid"].clone()).collect::<Vec<_>>(), [json!(database), json!(web)]);
}

#[test]
fn each_verb_calls_that_of_xenapi_and_removes_its_task() {
    let service = Service::new();
    let uuid = service.fake.vm("web", "Running");
    let vm = json!(format!("OpaqueRef:{uuid}"));
    for (arguments, verb, more) in [
        (&["vm", "start", "web"][..], "Async.VM.start", vec![json!(false), json!(false)]),
        (&["vm", "start", "--paused", "web"], "Async.VM.start", vec![json!(true), json!(false)]),
        (&["vm", "shutdown", "web"], "Async.VM.clean_shutdown", vec![]),
        (&["vm", "stop", &uuid], "Async.VM.hard_shutdown", vec![]),
        (&["vm", "reboot", "web"], "Async.VM.clean_reboot", vec![]),
        (&["vm", "reboot", "web", "--hard"], "Async.VM.hard_reboot", vec![]),
        (&["vm", "pause", "web"], "Async.VM.pause", vec![]),
        (&["vm", "unpause", "web"], "Async.VM.unpause", vec![]),
        (&["vm", "suspend", "web"], "Async.VM.suspend", vec![]),
        (&["vm", "resume", "web"], "Async.VM.resume", vec![json!(false), json!(false)]),
        (&["vm", "upgrade-worker", "web"], "Async.VM.xvirt_upgrade_worker", vec![]),
        (&["vm", "destroy", "web"], "Async.VM.destroy", vec![]),
    ] {
        service.fake.calls.lock().unwrap().clear();
        let ran = service.run(arguments);
        assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""), "{arguments:?}");
        let parameters: Vec<_> = std::iter::once(vm.clone()).chain(more).collect();
        let calls = service.fake.calls.lock().unwrap().clone();
        assert!(calls.contains(&(verb.to_owned(), parameters)), "{calls:?}");
        assert!(calls.iter().any(|(verb, _)| verb == "task.destroy"), "{calls:?}");
    }
    let ran = service.run(&["vm", "pause", "web", "--json"]);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed, json!({ "uuid": uuid, "power_state": "Running" }));
}

#[test]
fn a_vm_is_created_as_asked() {
    let service = Service::new();
    let arguments = ["--memory", "1G", "--vcpus", "2", "--kernel", "vmlinuz", "--command-line", "quiet", "--autostart"];
    let ran = service.run(&[&["vm", "create", "web"], &arguments[..]].concat());
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let record = service.fake.objects.lock().unwrap()[&format!("OpaqueRef:{}", ran.stdout.trim())].clone();
    for (field, value) in [
        ("name_label", json!("web")),
        ("memory_static_max", json!(1 << 30)),
        ("memory_dynamic_min", json!(1 << 30)),
        ("VCPUs_at_startup", json!(2)),
        ("VCPUs_max", json!(2)),
        ("PV_kernel", json!("vmlinuz")),
        ("PV_args", json!("quiet")),
        ("other_config", json!({ "auto_poweron": "true" })),
    ] {
        assert_eq!(record[field], value, "{field}");
    }
    let show = service.run(&["vm", "show", "web"]).stdout;
    assert!(show.contains("memory         1 GiB\n") && show.contains("autostart      yes\n"), "{show}");
}

#[test]
fn what_was_created_is_destroyed_when_the_rest_fails() {
    let service = Service::new();
    let ran = service.run(&["vm", "create", "web", "--disk", "8G"]);
    let expected = "xvirt: cannot create the VM \"web\": SR_FULL (requested 2, maximum 1); make room\n";
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(1), expected));
    assert_eq!(service.verbs().last().map(String::as_str), Some("VM.destroy"));
}

#[test]
fn all_that_run_are_asked_to_shut_down_and_stopped_when_they_do_not() {
    let service = Service::new();
    for (name, state) in [("web", "Running"), ("database", "Paused"), ("old", "Halted")] {
        service.fake.vm(name, state);
    }
    let ran = service.run(&["vm", "shutdown", "--all", "--patience", "0", "--json"]);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!(printed, json!({ "shut_down": 2, "of_these_stopped": 2 }));
    let count = |wanted: &str| service.verbs().iter().filter(|verb| *verb == wanted).count();
    assert_eq!((count("Async.VM.clean_shutdown"), count("VM.hard_shutdown")), (2, 2));
}

#[test]
fn all_that_run_another_version_are_upgraded_and_the_failures_told() {
    let service = Service::new();
    let host = service.fake.host("1.0.0");
    let vms = ["web", "database", "new", "old", "paused"].map(|name| {
        let uuid = service.fake.vm(name, if name == "old" { "Halted" } else { "Running" });
        let mut objects = service.fake.objects.lock().unwrap();
        let record = objects.get_mut(&format!("OpaqueRef:{uuid}")).unwrap();
        record["resident_on"] = json!(host);
        if name == "new" {
            record["xvirt_worker_version"] = json!("1.0.0");
        } else if name == "paused" {
            record["power_state"] = json!("Paused");
        }
        json!(format!("OpaqueRef:{uuid}"))
    });
    let ran = service.run(&["vm", "upgrade-worker", "--all", "--json"]);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!((ran.status, printed), (Some(0), json!({ "upgraded": 2, "current": 1 })));
    let calls = service.fake.calls.lock().unwrap().clone();
    let mut upgraded: Vec<_> = calls
        .into_iter()
        .filter(|(verb, _)| verb == "Async.VM.xvirt_upgrade_worker")
        .map(|(_, parameters)| parameters[0].to_string())
        .collect();
    upgraded.sort();
    let mut expected: Vec<_> = vms[..2].iter().map(ToString::to_string).collect();
    expected.sort();
    assert_eq!(upgraded, expected);

    *service.fake.ending.lock().unwrap() = Some(Ending::Failed);
    let ran = service.run(&["vm", "upgrade-worker", "--all"]);
    assert_eq!((ran.status, ran.stderr.lines().count()), (Some(1), 2), "{ran:?}");
    assert!(ran.stderr.lines().all(|line| line.starts_with("xvirt: cannot upgrade the worker of the VM ")), "{ran:?}");
}
