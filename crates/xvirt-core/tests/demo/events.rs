//! Events of VMs, and queries about past ones.

use std::time::SystemTime;

use xvirt_core::config::CrashAction;
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::vm::{CrashReason, Event, EventReceiver, EventRecord, HaltCause};

use crate::host;
use crate::support::{PATIENCE, config};

#[test]
fn one_receiver_hears_of_many_vms() {
    let host = host!();
    let began = SystemTime::now();
    let receiver = EventReceiver::new().unwrap();
    let vms = [(); 2].map(|()| config(&CommandLine::new([Mode::Hello, Mode::PowerOff])).build(&host).unwrap());
    for vm in &vms {
        receiver.listen(vm).unwrap();
        vm.start().unwrap();
        vm.wait_halted(PATIENCE).unwrap();
    }
    let ids = vms.each_ref().map(|vm| vm.uuid());
    drop(vms);
    let mut records = Vec::new();
    while let Ok(record) = receiver.next_timeout(PATIENCE) {
        records.push(record);
    }
    for id in ids {
        let of_vm: Vec<_> = records.iter().filter(|record| record.vm == id).collect();
        let heard: Vec<_> = of_vm.iter().map(|record| (record.sequence, &record.event)).collect();
        assert_eq!(heard, [(1, &Event::Started), (2, &Event::GuestShutdown), (3, &Event::Dropped)]);
        assert!(of_vm.iter().all(|record| began <= record.time && record.time <= SystemTime::now()));
    }
    assert_eq!(records.len(), 6);
    let text = serde_json::to_string(&records).unwrap();
    assert_eq!(serde_json::from_str::<Vec<EventRecord>>(&text).unwrap(), records);
}

#[test]
fn why_a_vm_is_halted_can_be_asked_later() {
    let host = host!();
    let vm = config(&CommandLine::new([Mode::Hello, Mode::PowerOff])).build(&host).unwrap();
    let built = vm.halted().unwrap();
    assert_eq!((built.cause, vm.last_crash()), (HaltCause::NotStarted, None));
    vm.start().unwrap();
    vm.wait_halted(PATIENCE).unwrap();
    let halted = vm.halted().unwrap();
    assert_eq!(halted.cause, HaltCause::GuestShutdown);
    assert!(built.since <= halted.since && halted.since <= SystemTime::now());

    let line = CommandLine::new([Mode::Hello, Mode::Crash]);
    let vm = config(&line).on_crash(CrashAction::Halt).build(&host).unwrap();
    vm.start().unwrap();
    vm.wait_halted(PATIENCE).unwrap();
    assert_eq!(vm.halted().unwrap().cause, HaltCause::Crashed(CrashReason::TripleFault));
    let crash = vm.last_crash().unwrap();
    assert_eq!(crash.reason, CrashReason::TripleFault);

    let vm = config(&line).on_crash(CrashAction::Preserve).build(&host).unwrap();
    let events = vm.events().unwrap();
    vm.start().unwrap();
    while events.next_timeout(PATIENCE).unwrap().event != Event::Paused {}
    assert_eq!((vm.halted(), vm.last_crash().unwrap().reason), (None, CrashReason::TripleFault));
    vm.hard_shutdown().unwrap();
    assert_eq!(vm.halted().unwrap().cause, HaltCause::HardShutdown);
}
