//! What cannot be done, and the exit statuses.

use serde_json::Value;

use crate::support::{Service, xvirt};

#[test]
fn a_service_that_is_not_there_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none");
    let output = xvirt(&["--socket", socket.to_str().unwrap(), "vm", "list"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(said.starts_with(&format!("xvirt: cannot reach the host service at {}: ", socket.display())), "{said}");
    assert!(said.contains("start it with `systemctl start xvirt` or `xvirt host run`"), "{said}");
}

#[test]
fn a_name_that_is_not_one_vm_is_refused_with_the_list() {
    let service = Service::new();
    let ran = service.run(&["vm", "start", "web"]);
    let expected = "xvirt: cannot find the VM \"web\": none has this name; see `xvirt vm list`\n";
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(4), expected));
    let ran = service.run(&["vm", "start", "6d3ab9ad-4b8f-4d77-8cf0-0b3b1f1dd6a1"]);
    assert!(ran.status == Some(4) && ran.stderr.contains("none has this UUID"), "{ran:?}");

    let both = [service.fake.vm("web", "Running"), service.fake.vm("web", "Halted")];
    let ran = service.run(&["vm", "start", "web"]);
    assert_eq!(ran.status, Some(4));
    assert!(both.iter().all(|uuid| ran.stderr.contains(uuid.as_str())), "{ran:?}");
    assert!(ran.stderr.contains("2 VMs have this name"), "{ran:?}");
    assert_eq!(service.run(&["vm", "start", &both[0]]).status, Some(0));
    assert_eq!(service.verbs().iter().filter(|verb| *verb == "Async.VM.start").count(), 1);
}

#[test]
fn errors_of_verbs_are_xenapis() {
    let service = Service::new();
    let ran = service.run(&["host", "show", "--json"]);
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((ran.status, &error["code"]), (Some(1), &"MESSAGE_METHOD_UNKNOWN".into()));
}

#[test]
fn arguments_that_are_wrong_have_a_status_of_their_own_and_help_is_none() {
    for (arguments, status) in [
        (&["--help"][..], 0),
        (&["vm", "create", "--help"], 0),
        (&["--version"], 0),
        (&["completion", "bash"], 0),
        (&[], 2),
        (&["vm"], 2),
        (&["vm", "fly"], 2),
        (&["vm", "create", "web", "--memory", "many"], 2),
        (&["host", "run", "--worker-user", "nobody-of-this-name"], 2),
        (&["vm", "shutdown"], 2),
        (&["vm", "upgrade-worker"], 2),
        (&["vm", "upgrade-worker", "web", "--all"], 2),
        (&["vm", "shutdown", "web", "--all"], 2),
    ] {
        let output = xvirt(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        assert_eq!(output.stdout.is_empty(), status != 0, "{arguments:?}");
    }
}
