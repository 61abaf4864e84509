//! Services that end while a VM moves to a new worker. The two workers decide without them, and the next service finds out.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use xvirt_testing::random::Random;
use xvirt_worker::protocol::{ConsoleKind, Json, NumberedRequest, Request, Slot, TakeOver, encode};
use xvirt_worker::{Connection, Descriptors, Settings, launch};

use crate::child::{ChildService, Client};
use crate::devices::start;
use crate::needs_kvm;
use crate::support::{Console, PATIENCE, Place, Service, record, ticking, workers_of};
use crate::upgrade::{folder, require_counting, require_one_worker};

/// A VM that runs, and no service.
struct Left {
    place: Place,
    vm: Value,
    tick: u64,
    old: Pid,
}

impl Left {
    fn new() -> Self {
        let place = Place::new();
        let service = place.open();
        let vm = service.create("web", &ticking());
        start(&service, &vm);
        let tick = service.console(&vm).tick();
        let old = workers_of(&place.run())[0];
        Self { place, vm, tick, old }
    }

    fn folder(&self) -> PathBuf {
        folder(&self.place, &self.vm)
    }

    /// The files of a new worker, as a service makes them.
    fn make_beside(&self) -> (UnixListener, File) {
        let beside = self.folder().join("new");
        fs::create_dir(&beside).unwrap();
        (UnixListener::bind(beside.join("socket")).unwrap(), File::create(beside.join("exit")).unwrap())
    }

    /// A new worker, which has not been asked for anything.
    fn make_worker(&self) {
        let (socket, record) = self.make_beside();
        let log = File::create(self.place.folder.path().join("log")).unwrap();
        let settings = Settings::new(0).memory_limit(1 << 30);
        launch(xvirt_testing::worker::worker_program(), &settings, Descriptors::new(socket, record, log)).unwrap();
    }

    fn connect(&self, socket: &str) -> Connection {
        Connection::open(self.folder().join(socket)).unwrap()
    }

    /// Lets the VM move to the new worker, as a service does that has no time to note it.
    fn hand_over(&self) {
        self.make_worker();
        let (here, there) = UnixStream::pair().unwrap();
        let (take_over, files) = take_over(there);
        let (mut from, mut to) = (self.connect("socket"), self.connect("new/socket"));
        thread::scope(|scope| {
            scope.spawn(move || {
                let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
                to.call(&Request::TakeOver(Box::new(take_over)), &files).unwrap();
            });
            from.call(&Request::HandOver { channel: Slot(0) }, &[here.as_fd()]).unwrap();
        });
    }

    /// The next service finds the VM in one worker.
    fn require_running(self, moved: bool) {
        let service = self.place.open();
        require_one_worker(&self.place, &self.vm);
        assert_eq!(workers_of(&self.place.run()) != [self.old], moved);
        let tick = require_counting(&service, &self.vm, self.tick);
        assert_eq!((service.messages(&self.vm), service.field("VM", &self.vm, "domid")), (vec![], json!(1)));
        // It can be moved again.
        service.ok("VM.xvirt_upgrade_worker", [self.vm.clone()]);
        require_one_worker(&self.place, &self.vm);
        require_counting(&service, &self.vm, tick);
        end(&service, &self.place, &self.vm);
    }
}

fn take_over(channel: UnixStream) -> (TakeOver, Vec<OwnedFd>) {
    let host = Json::of(&xvirt_core::host::Host::probe().unwrap()).unwrap();
    let kvm = File::options().read(true).write(true).open("/dev/kvm").unwrap();
    (TakeOver { host, kvm: Some(Slot(1)), channel: Slot(0), ..TakeOver::default() }, vec![channel.into(), kvm.into()])
}

/// Powers the VM off; nothing is left.
fn end(service: &Service, place: &Place, vm: &Value) {
    service.ok("VM.hard_shutdown", [vm.clone()]);
    assert_eq!((workers_of(&place.run()), service.messages(vm)), (vec![], vec![]));
    place.require_no_workers();
}

#[test]
fn files_without_a_worker_are_removed() {
    needs_kvm!();
    let left = Left::new();
    drop(left.make_beside());
    left.require_running(false);
    // So are those that were not finished.
    let left = Left::new();
    fs::create_dir(left.folder().join("making")).unwrap();
    drop(UnixListener::bind(left.folder().join("making/socket")).unwrap());
    left.require_running(false);
}

#[test]
fn a_worker_that_was_asked_for_nothing_is_ended() {
    needs_kvm!();
    let left = Left::new();
    left.make_worker();
    assert_eq!(workers_of(&left.place.run()).len(), 2);
    left.require_running(false);
}

#[test]
fn a_worker_that_only_one_side_was_told_of_is_ended() {
    needs_kvm!();
    let left = Left::new();
    left.make_worker();
    let (here, there) = UnixStream::pair().unwrap();
    let (wish, files) = take_over(there);
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let mut to = left.connect("new/socket");
    drop(here);
    to.call(&Request::TakeOver(Box::new(wish)), &files).unwrap_err();
    drop(to);
    left.require_running(false);
}

#[test]
fn workers_that_go_on_without_a_service_are_waited_for() {
    needs_kvm!();
    let left = Left::new();
    left.make_worker();
    let (here, there) = UnixStream::pair().unwrap();
    let (wish, files) = take_over(there);
    let (to, from) = (raw(&left.folder().join("new/socket")), raw(&left.folder().join("socket")));
    // The old one has the request, and does not read it before there is a new service.
    kill_process(left.old, Signal::STOP).unwrap();
    send(&to, Request::TakeOver(Box::new(wish)), &files.iter().map(AsFd::as_fd).collect::<Vec<_>>());
    send(&from, Request::HandOver { channel: Slot(0) }, &[here.as_fd()]);
    drop((here, files, to, from));
    let old = left.old;
    thread::scope(|scope| {
        let service = scope.spawn(move || left.require_running(true));
        thread::sleep(std::time::Duration::from_millis(300));
        kill_process(old, Signal::CONT).unwrap();
        service.join().unwrap();
    });
}

/// A connection to a worker on which nobody waits for answers.
fn raw(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    Connection::over(stream.try_clone().unwrap()).unwrap();
    stream
}

fn send(stream: &UnixStream, request: Request, files: &[BorrowedFd<'_>]) {
    let numbered = NumberedRequest { id: 2, request };
    xvirt_worker::protocol::send(stream, &encode(&numbered).unwrap(), files).unwrap();
}

#[test]
fn a_vm_that_has_moved_is_found_in_its_new_worker() {
    needs_kvm!();
    // Files may have been moved or not.
    for moved in [&[][..], &["exit"], &["exit", "socket"]] {
        let left = Left::new();
        left.hand_over();
        for name in moved {
            fs::rename(left.folder().join("new").join(name), left.folder().join(name)).unwrap();
        }
        left.require_running(true);
    }
}

#[test]
fn a_new_worker_that_has_died_since_decides_what_became_of_the_vm() {
    needs_kvm!();
    for moved in [&[][..], &["exit"], &["exit", "socket"]] {
        let left = Left::new();
        left.hand_over();
        for new in workers_of(&left.place.run()).into_iter().filter(|worker| *worker != left.old) {
            kill_process(new, Signal::KILL).unwrap();
        }
        for name in moved {
            fs::rename(left.folder().join("new").join(name), left.folder().join(name)).unwrap();
        }
        let Left { place, vm, .. } = left;
        let service = place.open();
        service.wait("VM", &vm, "power_state", "Halted");
        let messages = service.messages(&vm);
        assert!(messages.len() == 1 && messages[0].1.contains("the worker was killed"), "{messages:?}");
        place.require_no_workers();
        let ended = xvirt_testing::process::comes_to(&0, PATIENCE, || workers_of(&place.run()).len());
        assert_eq!(ended, Ok(()));
    }
}

#[test]
fn a_service_that_is_killed_at_any_moment_leaves_one_worker() {
    needs_kvm!();
    let kills: u64 = std::env::var("XVIRT_UPGRADE_KILLS").map_or(12, |count| count.parse().unwrap());
    let place = Place::new();
    let path = place.folder.path();
    let mut service = ChildService::start(path);
    let mut client = Client::new(path);
    let vm = client.ask("VM.create", [record("web", &ticking())]).unwrap();
    client.ask("VM.start", [vm.clone(), json!(false), json!(false)]).unwrap();
    let console = |place: &Place| {
        let connection = Connection::open(folder(place, &vm).join("socket")).unwrap();
        Console::over(connection.console(ConsoleKind::Serial).unwrap())
    };
    let (mut tick, mut moves) = (console(&place).tick(), 0);
    let seed = u64::from(std::process::id());
    println!("seed {seed}, {kills} kills");
    let mut random = Random::new(seed);
    for _ in 0..kills {
        let before = workers_of(&place.run());
        let task = client.ask("Async.VM.xvirt_upgrade_worker", [vm.clone()]).unwrap();
        (0..random.below(3_000_000)).for_each(|_| std::hint::spin_loop());
        service.kill();
        service = ChildService::start(path);
        let task = client.ask("task.get_record", [task]).unwrap();
        assert_eq!(client.ask("VM.get_current_operations", [vm.clone()]).unwrap(), json!({}));
        require_one_worker(&place, &vm);
        let moved = workers_of(&place.run()) != before;
        moves += u64::from(moved);
        let status = if moved { "success" } else { "failure" };
        assert_eq!(task["status"], status, "{task}");
        let text = console(&place).expect(&format!("timer: tick {}\r", tick + 3));
        assert_eq!(text.matches("timer: tick 1\r").count(), 1, "the guest was reset: {text}");
        tick += 3;
    }
    println!("{moves} of {kills} moves were done");
    assert_eq!(client.ask("message.get_all", []).unwrap(), json!([]));
    client.ask("VM.hard_shutdown", [vm]).unwrap();
    assert_eq!(workers_of(&place.run()), []);
    place.require_no_workers();
}

#[test]
fn a_new_worker_that_is_killed_at_any_moment_loses_the_guest_at_most_with_a_message() {
    needs_kvm!();
    let rounds: u64 = std::env::var("XVIRT_UPGRADE_KILLS").map_or(12, |count| count.parse().unwrap());
    let place = Place::new();
    let service = place.open();
    let vm = service.create("web", &ticking());
    let seed = u64::from(std::process::id());
    println!("seed {seed}, {rounds} kills");
    let (mut random, mut kept, mut lost) = (Random::new(seed), 0, 0);
    let mut tick = 0;
    for _ in 0..rounds {
        if service.power_state(&vm) == "Halted" {
            start(&service, &vm);
            tick = service.console(&vm).tick();
        }
        let task = service.ok("Async.VM.xvirt_upgrade_worker", [vm.clone()]);
        let beside = folder(&place, &vm).join("new/socket");
        let killed = loop {
            if let Some(process) = UnixStream::connect(&beside).ok().and_then(process_of) {
                (0..random.below(1_500_000)).for_each(|_| std::hint::spin_loop());
                let _ = pidfd_send_signal(&process, Signal::KILL);
                // Until it is dead, it may still say that it has the VM.
                poll(&mut [PollFd::new(&process, PollFlags::IN)], None).unwrap();
                break true;
            }
            if service.ok("task.get_status", [task.clone()]) != "pending" {
                break false;
            }
        };
        let task = service.wait_task(&task);
        service.wait("VM", &vm, "current_operations", json!({}));
        let deadline = Instant::now() + PATIENCE;
        let gone = loop {
            let messages = service.messages(&vm).len();
            if messages > lost && service.power_state(&vm) == "Halted" {
                break true;
            }
            if has_guest(&place, &vm) {
                break false;
            }
            assert!(Instant::now() < deadline, "the VM is neither there nor lost: {task}");
            std::thread::yield_now();
        };
        assert!(!gone || killed, "{task}");
        if gone {
            // It ran in the new worker.
            lost += 1;
            assert_eq!(service.messages(&vm).len(), lost);
        } else {
            kept += 1;
            require_one_worker(&place, &vm);
            tick = require_counting(&service, &vm, tick);
        }
    }
    println!("the guest went on {kept} times, and was lost {lost} times");
    if service.power_state(&vm) == "Running" {
        service.ok("VM.hard_shutdown", [vm.clone()]);
    }
    let ended = xvirt_testing::process::comes_to(&0, PATIENCE, || workers_of(&place.run()).len());
    assert_eq!(ended, Ok(()));
    place.require_no_workers();
}

/// Whether the worker of a VM says that its guest runs.
fn has_guest(place: &Place, vm: &Value) -> bool {
    let worker = Connection::open(folder(place, vm).join("socket"));
    let described = worker.and_then(|mut worker| worker.describe());
    described.is_ok_and(|worker| worker.power_state.as_deref() == Some("running"))
}

/// The process of a worker that listens itself, not that of the service that has made its socket.
fn process_of(socket: UnixStream) -> Option<OwnedFd> {
    let peer = rustix::net::sockopt::socket_peercred(&socket).ok()?.pid;
    if peer == rustix::process::getpid() { None } else { pidfd_open(peer, PidfdFlags::empty()).ok() }
}
