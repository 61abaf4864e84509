//! Workers that hang: they stop nobody else, and can be powered off.

use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use xvirt_worker::kind;

use crate::needs_kvm;
use crate::support::{Place, Service, ticking, workers_of};

fn start(service: &Service, vm: &Value) {
    service.ok("VM.start", [vm.clone(), json!(false), json!(false)]);
}

#[test]
fn a_worker_that_hangs_stops_nobody_else_and_can_be_powered_off() {
    needs_kvm!();
    let place = Place::new();
    let service = place.open();
    let (hung, other) = (service.create("hung", &ticking()), service.create("other", &ticking()));
    start(&service, &hung);
    let worker = workers_of(&place.run())[0];
    start(&service, &other);
    drop(service);
    kill_process(worker, Signal::STOP).unwrap();
    // It accepts nothing, so its queue is full soon.
    let uuid = hung.as_str().unwrap().strip_prefix("OpaqueRef:").unwrap();
    let socket = place.run().join("workers").join(uuid).join("socket");
    let error = loop {
        if let Err(error) = xvirt_worker::connect(&socket, Duration::from_millis(1)) {
            break error;
        }
    };
    assert_eq!(error.kind(), kind::TIMEOUT);

    let service = place.open();
    service.console(&other).tick();
    service.ok("VM.clean_shutdown", [other]);
    // It runs: nothing may say that it was shut down.
    for verb in ["VM.clean_shutdown", "VM.clean_reboot", "VM.suspend", "VM.hard_reboot"] {
        let failure = service.call(verb, [hung.clone()]).unwrap_err();
        assert_eq!(failure.code, "OPERATION_NOT_ALLOWED", "{verb}: {failure}");
        assert!(failure.to_string().contains("does not answer"), "{verb}: {failure}");
    }
    assert_eq!(service.power_state(&hung), "Running");
    assert_eq!(service.field("VM", &hung, "suspend_VDI"), "OpaqueRef:NULL");
    service.ok("VM.hard_shutdown", [hung.clone()]);
    assert_eq!(service.power_state(&hung), "Halted");
    assert!(workers_of(&place.run()).is_empty());
    start(&service, &hung);
    service.ok("VM.hard_shutdown", [hung]);
}
