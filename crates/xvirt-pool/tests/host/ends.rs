//! How runs end, and what follows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process, pidfd_send_signal};
use serde_json::{Value, json};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_pool::Host;
use xvirt_pool::host::ManualHostClock;
use xvirt_pool::operation::Verbs;
use xvirt_worker::Connection;

use crate::needs_kvm;
use crate::support::{Console, PATIENCE, Place, Service, me, record, ticking, workers_of};

fn start(service: &Service, vm: &Value) {
    service.ok("VM.start", [vm.clone(), json!(false), json!(false)]);
}

fn kill(place: &Place, vm: &Value) {
    let uuid = vm.as_str().unwrap().strip_prefix("OpaqueRef:").unwrap();
    let connection = Connection::open(place.run().join("workers").join(uuid).join("socket")).unwrap();
    pidfd_send_signal(connection.peer_process().unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_worker_that_is_killed_is_told_and_its_vm_starts_again_if_it_ran_long_enough() {
    needs_kvm!();
    let place = Place::new();
    let clock = Arc::new(ManualHostClock::default());
    let service = Service(Host::open(place.options().clock(clock.clone())).unwrap());
    let mut wish = record("web", &ticking());
    wish["actions_after_crash"] = json!("restart");
    let vm = service.ok("VM.create", [wish]);
    start(&service, &vm);
    clock.advance(Duration::from_secs(120));
    // The clock that people read has no say in it.
    clock.set_unix(7);
    kill(&place, &vm);
    service.wait("VM", &vm, "domid", 2);
    assert_eq!(service.power_state(&vm), "Running");
    service.console(&vm).expect("timer: tick 1\r");
    assert_eq!(workers_of(&place.run()).len(), 1);
    let messages = service.messages(&vm);
    assert!(messages.len() == 1 && messages[0].1.contains("is started again"), "{messages:?}");

    clock.advance(Duration::from_secs(119));
    kill(&place, &vm);
    service.wait("VM", &vm, "power_state", "Halted");
    let messages = service.messages(&vm);
    assert!(
        messages.len() == 2 && messages.iter().any(|message| message.1.contains("too short a time")),
        "{messages:?}"
    );
    // It is not held back for ever.
    start(&service, &vm);
    service.ok("VM.hard_shutdown", [vm]);
}

#[test]
fn a_guest_that_powers_off_or_crashes_halts_its_vm() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let off = service.create("off", &CommandLine::new([Mode::Hello, Mode::PowerOff]));
    let crash = service.create("crash", &CommandLine::new([Mode::Hello, Mode::Crash]));
    for vm in [&off, &crash] {
        start(&service, vm);
        service.wait("VM", vm, "power_state", "Halted");
        assert_eq!(service.field("VM", vm, "consoles"), json!([]));
    }
    assert_eq!(service.messages(&off), []);
    let messages = service.messages(&crash);
    assert!(messages.len() == 1 && messages[0].1.contains("the guest crashed"), "{messages:?}");
}

#[test]
fn a_worker_that_died_while_no_service_was_there_is_told_by_the_next_one() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    start(&service, &vm);
    drop(service);
    kill(&place, &vm);
    let service = place.open();
    service.wait("VM", &vm, "power_state", "Halted");
    assert!(service.messages(&vm)[0].1.contains("the worker was killed"), "{:?}", service.messages(&vm));
    place.require_no_workers();
}

#[test]
fn a_task_is_there_with_its_reason_and_can_be_cancelled() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &CommandLine::new([Mode::Hostile]));
    let failed = service.ok("Async.VM.hard_shutdown", [vm.clone()]);
    let task = service.wait_task(&failed);
    assert_eq!((&task["status"], &task["error_info"][0]), (&json!("failure"), &json!("VM_BAD_POWER_STATE")), "{task}");

    start(&service, &vm);
    // This guest does not listen.
    let asked = service.ok("Async.VM.clean_shutdown", [vm.clone()]);
    service.wait("VM", &vm, "current_operations", json!({ asked.as_str().unwrap(): "clean_shutdown" }));
    assert_eq!(service.code("VM.pause", [vm.clone()]), "OTHER_OPERATION_IN_PROGRESS");
    service.ok("task.cancel", [asked.clone()]);
    assert_eq!(service.wait_task(&asked)["status"], "cancelled");
    assert_eq!(service.power_state(&vm), "Running");
    assert_eq!(service.code("task.cancel", [asked]), "OPERATION_NOT_ALLOWED");

    // Power can be cut meanwhile; the request ends as done.
    let asked = service.ok("Async.VM.clean_shutdown", [vm.clone()]);
    service.wait("VM", &vm, "current_operations", json!({ asked.as_str().unwrap(): "clean_shutdown" }));
    service.ok("VM.hard_shutdown", [vm.clone()]);
    assert_eq!(service.wait_task(&asked)["status"], "success");
    assert_eq!(service.field("VM", &vm, "current_operations"), json!({}));
    drop(service);
    assert_eq!(place.open().ok("task.get_status", [failed]), "failure");
}

#[test]
fn a_guest_goes_on_where_it_was_suspended() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    start(&service, &vm);
    service.console(&vm).expect("timer: tick 5\r");
    service.ok("VM.suspend", [vm.clone()]);
    assert_eq!(service.power_state(&vm), "Suspended");
    assert!(workers_of(&place.run()).is_empty());
    drop(service);
    let service = place.open();
    assert_eq!(service.power_state(&vm), "Suspended");
    service.ok("VM.resume", [vm.clone(), json!(false), json!(false)]);
    let text = service.console(&vm).expect("timer: tick 40\r");
    assert_eq!(text.matches("timer: tick 1\r").count(), 1, "{text}");
    service.ok("VM.suspend", [vm.clone()]);
    service.ok("VM.hard_shutdown", [vm.clone()]);
    assert_eq!(service.power_state(&vm), "Halted");
    assert_eq!(service.ok("VDI.get_all", []), json!([]));
    assert_eq!(std::fs::read_dir(place.state().join("disks")).unwrap().count(), 0);
}

#[test]
fn verbs_that_pause_and_reset_do_so() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    service.ok("VM.start", [vm.clone(), json!(true), json!(false)]);
    assert_eq!(service.power_state(&vm), "Paused");
    assert_eq!(service.code("VM.pause", [vm.clone()]), "VM_BAD_POWER_STATE");
    service.ok("VM.unpause", [vm.clone()]);
    let mut console = service.console(&vm);
    console.expect("timer: tick 3\r");
    service.ok("VM.hard_reboot", [vm.clone()]);
    console.expect("timer: tick 1\r");
    assert_eq!(service.power_state(&vm), "Running");
    service.ok("VM.clean_shutdown", [vm.clone()]);
    assert_eq!(service.power_state(&vm), "Halted");
}

#[test]
fn a_vm_that_does_not_fit_is_refused_with_what_is_needed_and_available() {
    needs_kvm!();
    let place = Place::new();
    let total = xvirt_core::host::Host::probe().unwrap().memory().total;
    let service = Service(Host::open(place.options().memory_reserve(total - (100 << 20))).unwrap());
    let (one, two) = (service.create("one", &ticking()), service.create("two", &ticking()));
    start(&service, &one);
    let failure = service.call("VM.start", [two.clone(), json!(false), json!(false)]).unwrap_err();
    assert_eq!(failure.code, "HOST_NOT_ENOUGH_FREE_MEMORY");
    let number = |index: usize| failure.parameters[index].parse::<u64>().unwrap();
    assert!(number(0) > 64 << 20 && number(1) < 36 << 20, "{failure}");
    assert!(
        service.ok("host.compute_free_memory", [json!(service.0.reference().to_string())]).as_u64().unwrap()
            == number(1)
    );
    // A new service knows what the workers have that it adopts.
    drop(service);
    let service = Service(Host::open(place.options().memory_reserve(total - (100 << 20))).unwrap());
    assert_eq!(service.code("VM.start", [two.clone(), json!(false), json!(false)]), "HOST_NOT_ENOUGH_FREE_MEMORY");
    service.ok("VM.hard_shutdown", [one]);
    start(&service, &two);
}

#[test]
fn vms_are_started_with_the_host_if_the_pool_and_they_say_so() {
    needs_kvm!();
    let place = Place::new();
    let clock = Arc::new(ManualHostClock::default());
    let open = || Service(Host::open(place.options().clock(clock.clone())).unwrap());
    let service = open();
    let (auto, plain) = (service.create("auto", &ticking()), service.create("plain", &ticking()));
    service.ok("VM.add_to_other_config", [auto.clone(), json!("auto_poweron"), json!("true")]);
    start(&service, &plain);
    drop(service);
    // A service that begins is no start of the host.
    let service = open();
    assert_eq!(service.power_state(&auto), "Halted");
    drop(service);
    kill(&place, &plain);
    clock.restart();
    let service = open();
    service.wait("VM", &auto, "power_state", "Running");
    assert_eq!(service.power_state(&plain), "Halted");
    assert_eq!(service.messages(&plain)[0].0, "VM_LOST_WITH_HOST");

    // Only a new pool says so by itself.
    let pool = service.ok("pool.get_all", [])[0].clone();
    service.ok("pool.remove_from_other_config", [pool, json!("auto_poweron")]);
    service.ok("VM.hard_shutdown", [auto.clone()]);
    drop(service);
    clock.restart();
    assert_eq!(open().power_state(&auto), "Halted");
}

#[test]
fn a_suspended_vm_keeps_its_disks_to_itself() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let (one, two) = (service.create("one", &ticking()), service.create("two", &ticking()));
    let sr = service.ok("SR.get_all", [])[0].clone();
    let vdi = service.ok("VDI.create", [json!({ "SR": sr, "virtual_size": 8 << 20 })]);
    for vm in [&one, &two] {
        service.ok("VBD.create", [json!({ "VM": vm, "VDI": vdi, "mode": "RW", "type": "Disk" })]);
    }
    start(&service, &one);
    assert_eq!(service.code("VM.start", [two.clone(), json!(false), json!(false)]), "VDI_IN_USE");
    service.ok("VM.suspend", [one.clone()]);
    assert_eq!(service.code("VM.start", [two.clone(), json!(false), json!(false)]), "VDI_IN_USE");
    assert_eq!(service.code("VDI.destroy", [vdi]), "VDI_IN_USE");
    service.ok("VM.resume", [one.clone(), json!(false), json!(false)]);
    service.ok("VM.hard_shutdown", [one]);
    start(&service, &two);
}

#[test]
fn a_worker_that_was_silent_is_adopted_once_it_answers() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let vm = service.create("silent", &ticking());
    start(&service, &vm);
    let tick = service.console(&vm).tick();
    drop(service);
    let worker = workers_of(&place.run())[0];
    kill_process(worker, Signal::STOP).unwrap();
    let service = place.open();
    assert_eq!(service.power_state(&vm), "Running");
    assert_eq!(service.code("VM.pause", [vm.clone()]), "OPERATION_NOT_ALLOWED");
    kill_process(worker, Signal::CONT).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let console = loop {
        match service.0.console(&me(), vm.as_str().unwrap()) {
            Ok(console) => break console,
            Err(failure) => assert!(Instant::now() < deadline, "{failure}"),
        }
        std::thread::yield_now();
    };
    let mut console = Console::over(console);
    while console.tick() <= tick {}
    assert_eq!(workers_of(&place.run()), [worker]);
    service.ok("VM.hard_shutdown", [vm.clone()]);
    assert_eq!(service.power_state(&vm), "Halted");
    service.ok("VM.destroy", [vm]);
}
