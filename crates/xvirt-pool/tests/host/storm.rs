//! A service that is killed again and again while clients work. `XVIRT_SERVICE_KILLS` says how often.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Instant;

use rustix::process::{Signal, pidfd_send_signal};
use serde_json::{Value, json};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_testing::random::Random;
use xvirt_worker::Connection;
use xvirt_worker::protocol::ConsoleKind;

use crate::child::{ChildService, Client};
use crate::needs_kvm;
use crate::support::{Console, PATIENCE, Place, record, workers_of};

/// VMs that only run, and whose guests must not notice anything.
const STEADY: usize = 6;
/// VMs that clients start, stop, pause and reset.
const BUSY: usize = 10;
/// VMs whose workers are killed, and that start again.
const MORTAL: usize = 4;
const CLIENTS: usize = 20;

/// What a client may be told, because another client was faster or the service has just begun.
const EXPECTED: [&str; 5] =
    ["VM_BAD_POWER_STATE", "OTHER_OPERATION_IN_PROGRESS", "OPERATION_NOT_ALLOWED", "TASK_CANCELLED", "HANDLE_INVALID"];

fn guest() -> CommandLine {
    CommandLine::new([Mode::Echo, Mode::Timer]).hertz(10).ticks(0)
}

/// How many calls were answered.
#[derive(Default)]
struct Answered {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Answered {
    fn one(&self) {
        *self.count.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    /// Waits for some more.
    fn wait(&self, more: u64) {
        let count = self.count.lock().unwrap();
        let until = *count + more;
        let waited = self.changed.wait_timeout_while(count, PATIENCE, |count| *count < until).unwrap();
        assert!(!waited.1.timed_out(), "the service answers nothing");
    }
}

#[test]
fn nothing_is_lost_when_the_service_is_killed_while_clients_work() {
    needs_kvm!();
    let kills: u64 = std::env::var("XVIRT_SERVICE_KILLS").map_or(5, |count| count.parse().unwrap());
    let place = Place::new();
    let folder = place.folder.path();
    let mut service = ChildService::start(folder);
    let seed = u64::from(std::process::id());
    println!("seed {seed}, {kills} kills");
    let mut client = Client::new(folder);
    let mut create = |name: &str, count: usize| -> Vec<Value> {
        let made = (0..count).map(|number| {
            let mut record = record(&format!("{name}-{number}"), &guest());
            record["actions_after_crash"] = json!(if name == "mortal" { "restart" } else { "destroy" });
            client.ask("VM.create", [record]).unwrap()
        });
        made.collect()
    };
    let (steady, busy, mortal) = (create("steady", STEADY), create("busy", BUSY), create("mortal", MORTAL));
    for vm in steady.iter().chain(&mortal) {
        client.ask("VM.start", [vm.clone(), json!(false), json!(false)]).unwrap();
    }
    let (done, answered, deaths) = (AtomicBool::new(false), Answered::default(), AtomicU64::new(0));
    let unexpected = Mutex::new(Vec::new());
    let mut random = Random::new(seed);
    thread::scope(|scope| {
        let ends = Ends(&done);
        let guests: Vec<_> = steady.iter().map(|vm| scope.spawn(|| watch_guest(folder, vm, &done))).collect();
        for number in 0..CLIENTS {
            let (busy, answered, unexpected, done) = (&busy, &answered, &unexpected, &done);
            scope.spawn(move || work(folder, busy, seed + number as u64, answered, unexpected, done));
        }
        for round in 0..kills {
            answered.wait(random.below(40) as u64 + 1);
            (0..random.below(200_000)).for_each(|_| std::hint::spin_loop());
            service.kill();
            if round % 3 == 0 && kill_worker(folder, &mortal[random.below(MORTAL)]) {
                deaths.fetch_add(1, Ordering::SeqCst);
            }
            service = ChildService::start(folder);
            if round % 20 == 19 {
                println!("{} kills", round + 1);
            }
            if round % 3 == 1 && kill_worker(folder, &mortal[random.below(MORTAL)]) {
                deaths.fetch_add(1, Ordering::SeqCst);
            }
        }
        answered.wait(CLIENTS as u64);
        drop(ends);
        for guest in guests {
            let ticks = guest.join().unwrap();
            assert!(ticks > 0, "a guest made no ticks");
        }
    });
    assert_eq!(*unexpected.lock().unwrap(), Vec::<String>::new());
    settle(&mut client);
    check(&mut client, folder, &place);
    for vm in steady.iter().chain(&mortal) {
        let state = client.ask("VM.get_power_state", [vm.clone()]).unwrap();
        assert_eq!(state, "Running", "{vm}");
    }
    check_deaths(&mut client, &mortal, deaths.into_inner());
    println!("resident memory of the service: {} KiB", service.resident() / 1024);
    tear_down(&mut client, &place);
}

/// Ends the threads of the test, also if it fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Follows a guest: it counts on, and never begins again.
fn watch_guest(folder: &Path, vm: &Value, done: &AtomicBool) -> u64 {
    let stream = Connection::open(socket(folder, vm)).unwrap().console(ConsoleKind::Serial).unwrap();
    let mut console = Console::over(stream);
    let (mut last, mut seen) = (console.tick(), 0);
    while !done.load(Ordering::SeqCst) {
        let tick = console.tick();
        assert_eq!(tick, last + 1, "the guest of {vm} was reset");
        (last, seen) = (tick, seen + 1);
    }
    // It runs still: it was not left paused.
    assert_eq!(console.tick(), last + 1);
    seen
}

/// Does things to VMs.
fn work(
    folder: &Path,
    vms: &[Value],
    seed: u64,
    answered: &Answered,
    unexpected: &Mutex<Vec<String>>,
    done: &AtomicBool,
) {
    let mut random = Random::new(seed);
    let mut client = Client::new(folder);
    while !done.load(Ordering::SeqCst) {
        let vm = vms[random.below(vms.len())].clone();
        let (verb, parameters) = match random.below(10) {
            0..3 => ("VM.start", vec![vm, json!(false), json!(false)]),
            3 => ("Async.VM.start", vec![vm, json!(true), json!(false)]),
            4 => ("VM.hard_shutdown", vec![vm]),
            5 => ("Async.VM.hard_shutdown", vec![vm]),
            6 => ("VM.pause", vec![vm]),
            7 => ("VM.unpause", vec![vm]),
            8 => ("VM.hard_reboot", vec![vm]),
            _ => ("VM.get_record", vec![vm]),
        };
        match client.call(verb, parameters) {
            Ok(Err(failure)) if !EXPECTED.contains(&failure.code.as_str()) => {
                unexpected.lock().unwrap().push(format!("{verb}: {failure}"));
            }
            Ok(_) => {}
            Err(_) => {
                thread::yield_now();
                continue;
            }
        }
        answered.one();
    }
}

fn socket(folder: &Path, vm: &Value) -> std::path::PathBuf {
    let uuid = vm.as_str().unwrap().strip_prefix("OpaqueRef:").unwrap();
    folder.join("run/workers").join(uuid).join("socket")
}

/// Kills the worker of a VM, if it has one.
fn kill_worker(folder: &Path, vm: &Value) -> bool {
    let Ok(connection) = Connection::open(socket(folder, vm)) else { return false };
    // Otherwise its start is interrupted rather than its run.
    let started = Connection::open(socket(folder, vm)).and_then(|mut worker| worker.describe());
    if started.is_ok_and(|worker| worker.power_state.as_deref() != Some("running")) {
        return false;
    }
    pidfd_send_signal(connection.peer_process().unwrap(), Signal::KILL).is_ok()
}

/// Waits until no operation goes on.
fn settle(client: &mut Client) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let tasks = client.ask("task.get_all_records", []).unwrap();
        let open = tasks
            .as_object()
            .unwrap()
            .values()
            .filter(|task| task["status"] == "pending" || task["status"] == "cancelling");
        let open = open.count();
        if open == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{open} tasks have not ended");
        thread::yield_now();
    }
}

/// Every task has ended with a reason, and the VMs that run are those that have workers.
fn check(client: &mut Client, folder: &Path, place: &Place) {
    let tasks = client.ask("task.get_all_records", []).unwrap();
    for task in tasks.as_object().unwrap().values() {
        let ended = match task["status"].as_str().unwrap() {
            "success" => task["error_info"] == json!([]),
            "failure" | "cancelled" => task["error_info"].as_array().is_some_and(|info| info.len() >= 2),
            _ => false,
        };
        assert!(ended, "{task}");
    }
    let vms = client.ask("VM.get_all_records", []).unwrap();
    let mut processes = BTreeSet::new();
    for (reference, vm) in vms.as_object().unwrap() {
        assert_eq!(vm["current_operations"], json!({}), "{vm}");
        let worker = Connection::open(socket(folder, &json!(reference)));
        let described = worker.and_then(|mut worker| worker.describe()).ok();
        let state = described.and_then(|worker| worker.power_state);
        let expected = vm["power_state"].as_str().unwrap().to_lowercase();
        match state {
            Some(state) => assert_eq!(state, expected, "{vm}"),
            None => assert_eq!(expected, "halted", "{vm}"),
        }
        if expected != "halted" {
            processes.insert(reference.clone());
        }
    }
    assert_eq!(workers_of(&place.run()).len(), processes.len(), "a VM has two workers, or a worker has no VM");
}

/// Each worker that was killed is a message, and its VM runs in another one.
fn check_deaths(client: &mut Client, mortal: &[Value], deaths: u64) {
    let uuids: Vec<Value> = mortal.iter().map(|vm| client.ask("VM.get_uuid", [vm.clone()]).unwrap()).collect();
    let messages = client.ask("message.get_all_records", []).unwrap();
    let count = |name: &str| {
        let messages = messages.as_object().unwrap().values();
        messages.filter(|one| one["name"] == name && uuids.contains(&one["obj_uuid"])).count() as u64
    };
    // A worker may also die while the service that starts it is killed: whether it ran already is not known then.
    let (crashes, interrupted) = (count("VM_CRASHED"), count("VM_START_INTERRUPTED"));
    println!("{deaths} workers killed, {crashes} told as crashes, {interrupted} starts interrupted");
    assert!(crashes <= deaths, "a message is there twice");
    assert!(deaths <= crashes + interrupted, "a worker died without a message");
}

/// Destroys everything; nothing is left.
fn tear_down(client: &mut Client, place: &Place) {
    for vm in client.ask("VM.get_all", []).unwrap().as_array().unwrap() {
        if client.ask("VM.get_power_state", [vm.clone()]).unwrap() != "Halted" {
            client.ask("VM.hard_shutdown", [vm.clone()]).unwrap();
        }
        client.ask("VM.destroy", [vm.clone()]).unwrap();
    }
    assert!(workers_of(&place.run()).is_empty());
    place.require_no_workers();
    for class in ["VM", "VBD", "VIF", "console"] {
        assert_eq!(client.ask(&format!("{class}.get_all"), []).unwrap(), json!([]), "{class}");
    }
}
