//! Long work: its failures, and cancelling it.

use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Ending, Ran, Service};

const LONG: Duration = Duration::from_secs(60);

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn a_task_that_fails_says_why_and_is_kept() {
    let service = Service::new();
    service.fake.vm("web", "Halted");
    *service.fake.ending.lock().unwrap() = Some(Ending::Failed);
    let ran = service.run(&["vm", "start", "web"]);
    let expected =
        "xvirt: cannot start the VM \"web\": HOST_NOT_ENOUGH_FREE_MEMORY (needed 2, available 1); stop another VM\n";
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(1), expected));
    assert!(!service.verbs().contains(&"task.destroy".to_owned()));
    // It was told of the end, and did not ask for it.
    assert!(service.verbs().contains(&"event.from".to_owned()));
    assert!(!service.verbs().contains(&"task.get_record".to_owned()));

    let ran = service.run(&["vm", "start", "web", "--json"]);
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((ran.status, &error["code"]), (Some(1), &"HOST_NOT_ENOUGH_FREE_MEMORY".into()));

    let listed: Vec<Value> = serde_json::from_str(&service.run(&["task", "list", "--json"]).stdout).unwrap();
    assert_eq!(listed.len(), 2);
    let show = service.run(&["task", "show", listed[0]["uuid"].as_str().unwrap()]).stdout;
    assert!(show.contains("error          HOST_NOT_ENOUGH_FREE_MEMORY; 2; 1; stop another VM\n"), "{show}");
}

#[test]
fn an_interrupt_cancels_the_task_and_its_end_is_waited_for() {
    let service = Service::new();
    service.fake.vm("web", "Running");
    *service.fake.ending.lock().unwrap() = Some(Ending::WhenCancelled);
    let begun = service.begun();
    let child = service.command(&["vm", "shutdown", "web"]).spawn().unwrap();
    begun.recv_timeout(LONG).unwrap();
    interrupt(&child);
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.status, Some(130), "{ran:?}");
    assert!(ran.stderr.starts_with("xvirt: cannot shut down the VM \"web\": TASK_CANCELLED"), "{ran:?}");
    assert!(service.verbs().contains(&"task.cancel".to_owned()));
}

#[test]
fn tasks_are_cancelled_by_their_uuid() {
    let service = Service::new();
    service.fake.vm("web", "Running");
    *service.fake.ending.lock().unwrap() = Some(Ending::WhenCancelled);
    let begun = service.begun();
    let child = service.command(&["vm", "shutdown", "web"]).spawn().unwrap();
    begun.recv_timeout(LONG).unwrap();
    let listed = service.run(&["task", "list"]).stdout;
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["VM.clean_shutdown", "pending", "50", "%"]);
    assert_eq!(service.run(&["task", "cancel", row.last().unwrap()]).status, Some(0));
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
}
