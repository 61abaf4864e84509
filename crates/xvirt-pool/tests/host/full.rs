//! A state store without room.

use serde_json::json;
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_pool::Host;
use xvirt_pool::store::SqliteOptions;

use crate::needs_kvm;
use crate::support::{Place, Service, record, ticking, workers_of};

#[test]
fn vms_run_on_while_the_store_is_full_and_what_happened_is_written_later() {
    needs_kvm!();
    let place = Place::new();
    let small = SqliteOptions { max_size: 512 << 10, ..SqliteOptions::default() };
    let service = Service(Host::open(place.options().store(small)).unwrap());
    let vm = service.create("web", &ticking());
    let other = service.create("other", &ticking());
    let ends = service.create("ends", &CommandLine::new([Mode::Echo]));
    let cut = service.create("cut", &ticking());
    for vm in [&vm, &ends, &cut] {
        service.ok("VM.start", [vm.clone(), json!(false), json!(false)]);
    }
    let mut padded = record("padding", &ticking());
    // Large records fill it, small ones the rest.
    for size in [20_000, 2_000, 10] {
        padded["name_description"] = json!("x".repeat(size));
        let failure = (0..1000).find_map(|_| service.call("VM.create", [padded.clone()]).err());
        assert_eq!(failure.unwrap().code, "OUT_OF_SPACE");
    }
    let failure = service.call("VM.start", [other.clone(), json!(false), json!(false)]).unwrap_err();
    assert_eq!(failure.code, "OUT_OF_SPACE");
    assert!(failure.parameters.last().unwrap().contains("running VMs are not affected"), "{failure}");
    assert_eq!(workers_of(&place.run()).len(), 3);
    // Reads, the guest and its console go on.
    assert_eq!(service.power_state(&vm), "Running");
    let mut console = service.console(&vm);
    let tick = console.tick();
    assert_eq!(console.tick(), tick + 1);
    // A service begins nevertheless, and power can be cut.
    drop(service);
    let small = SqliteOptions { max_size: 512 << 10, ..SqliteOptions::default() };
    let service = Service(Host::open(place.options().store(small)).unwrap());
    assert_eq!(service.console(&vm).expect("timer: tick 1\r").matches("tick").count(), 1);
    service.ok("VM.hard_shutdown", [cut.clone()]);
    assert_eq!(workers_of(&place.run()).len(), 2);
    // A guest ends meanwhile.
    let mut last = service.console(&ends);
    last.expect("echo: ready");
    std::io::Write::write_all(&mut last.stream, b"poweroff\n").unwrap();
    std::io::Read::read_to_end(&mut last.stream, &mut Vec::new()).unwrap();
    drop(service);

    let service = place.open();
    for vm in [&ends, &cut] {
        service.wait("VM", vm, "power_state", "Halted");
    }
    assert_eq!(service.power_state(&vm), "Running");
    service.ok("VM.start", [other, json!(false), json!(false)]);
}

#[test]
fn two_services_cannot_have_the_same_state() {
    let place = Place::new();
    let first = place.open();
    let failure = Host::open(place.options()).unwrap_err();
    assert!(failure.code == "INTERNAL_ERROR" && failure.to_string().contains("is in use by"), "{failure}");
    drop(first);
    place.open();
}
