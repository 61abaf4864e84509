//! Hand-overs to another worker of the same host.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::SystemTime;

use xvirt_core::config::{Disk, Nic, VmConfig};
use xvirt_core::disk::{self, Access};
use xvirt_core::host::Host;
use xvirt_core::migrate::MigrationSummary;
use xvirt_core::net::Tap;
use xvirt_core::vm::Event;
use xvirt_worker::protocol::{Answer, Json, NicBackend, Request, Slot, TakeOver};
use xvirt_worker::{Cause, Exit, Result};

use crate::host;
use crate::support::{Parts, Worker, ticking, writable};

/// Hands the VM of one worker over to another. Returns what each answers.
fn hand_over(host: &Host, from: &Worker, to: &Worker, disks: &[&Path]) -> (Result<Answer>, Result<Answer>) {
    let (here, there) = UnixStream::pair().unwrap();
    let mut parts = Parts { build: Default::default(), files: vec![there.into()] };
    let kvm = Some(parts.add(writable("/dev/kvm".as_ref())));
    for disk in disks {
        parts = parts.disk(disk);
    }
    let (host, disks) = (Json::of(host).unwrap(), parts.build.disks);
    let take_over = TakeOver { host, kvm, disks, channel: Slot(0) };
    thread::scope(|scope| {
        let target = scope.spawn(move || {
            let files: Vec<_> = parts.files.iter().map(AsFd::as_fd).collect();
            to.connect().call(&Request::TakeOver(Box::new(take_over)), &files)
        });
        let sent = from.connect().call(&Request::HandOver { channel: Slot(0) }, &[here.as_fd()]);
        drop(here);
        (sent, target.join().unwrap())
    })
}

fn summary(answer: Result<Answer>) -> MigrationSummary {
    let Answer::Report(report) = answer.unwrap() else { panic!() };
    report.read("the report").unwrap()
}

fn ended(worker: &Worker) -> Cause {
    let Exit::Recorded(record) = worker.wait() else { panic!("{}", worker.log()) };
    record.cause
}

#[test]
fn a_guest_goes_on_in_the_worker_that_replaces_its_own() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk");
    File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let mut config = ticking().shared_memory().disk(Disk::raw(&image));
    let tap = Tap::create(None);
    if let Ok(tap) = &tap {
        // A worker cannot ask for it.
        config = config.nic(Nic::tap(tap.name()).mtu(1500));
    }
    let mut parts = Parts::new(&host, &config).disk(&image);
    parts.build.owner_epoch = 7;
    if let Ok(tap) = &tap {
        let slot = parts.add(tap.as_fd().try_clone_to_owned().unwrap());
        parts.build.nics.push(NicBackend::Tap(slot));
    }
    let mut old = Worker::start();
    old.run(&parts);
    drop((parts, tap));
    let mut console = old.console();
    while console.tick() < 3 {}
    let described = old.connect().describe().unwrap();

    for _ in 0..3 {
        let new = Worker::start();
        let (sent, received) = hand_over(&host, &old, &new, &[&image]);
        println!("stopped for {:?}", summary(sent).downtime.total());
        assert_eq!(received.unwrap(), Answer::Nothing);
        assert_eq!(ended(&old), Cause::Migrated);
        let now = new.connect().describe().unwrap();
        assert_eq!((now.config, now.vm, now.owner_epoch), (described.config.clone(), described.vm.clone(), Some(7)));
        assert_eq!(
            (now.disk_positions, now.nic_positions),
            (described.disk_positions.clone(), described.nic_positions.clone())
        );
        old = new;
    }
    // It has the old output, and goes on with the next number.
    let text = old.console().expect("tick 60\r");
    assert_eq!((text.matches("timer: tick ").count(), text.matches("echo: ready").count()), (60, 1), "{text}");
    assert_eq!(disk::open(&image, None, Access::ReadWrite).unwrap_err().kind(), xvirt_core::ErrorKind::Busy);
    // It starts again from the same kernel.
    let mut events = old.events(0);
    old.ask(Request::HardReboot);
    events.expect(&Event::HardReset);
    let mut console = old.console();
    console.expect("echo: ready");
    console.expect("echo: ready");
    old.ask(Request::HardShutdown);
    assert_eq!(ended(&old), Cause::HardShutdown);
    disk::open(&image, None, Access::ReadWrite).unwrap();
}

#[test]
fn a_hand_over_that_fails_leaves_the_guest_where_it_is() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (image, other) = (folder.path().join("disk"), folder.path().join("other"));
    [&image, &other].into_iter().for_each(|path| File::create(path).unwrap().set_len(8 << 20).unwrap());
    writable(&other).set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let shared = |config: VmConfig| config.shared_memory().disk(Disk::raw(&image));
    let cases: [(VmConfig, &[&Path], &str); 4] = [
        (shared(ticking()), &[], "the configuration has 1 disks, and 0 were given"),
        // The old worker has closed its disk by then.
        (shared(ticking()), &[&other], "is not the image"),
        (ticking().disk(Disk::raw(&image)), &[&image], "memory is private to this process"),
        (shared(ticking()).nic(Nic::stream("/run/switch")), &[&image], "a network interface is a stream of frames"),
    ];
    for (config, disks, text) in cases {
        let mut parts = Parts::new(&host, &config).disk(&image);
        let (near, _far) = UnixStream::pair().unwrap();
        if !config.nics.is_empty() {
            let slot = parts.add(near);
            parts.build.nics.push(NicBackend::Stream(slot));
        }
        let (old, new) = (Worker::start(), Worker::start());
        old.run(&parts);
        let mut console = old.console();
        console.tick();
        let (sent, received) = hand_over(&host, &old, &new, disks);
        let errors = [sent.unwrap_err(), received.unwrap_err()];
        assert!(errors.iter().any(|error| error.message().contains(text)), "{errors:?}");
        assert!(matches!(ended(&new), Cause::BuildFailed { .. }));
        let tick = console.tick();
        assert_eq!(console.tick(), tick + 1);
        assert_eq!(disk::open(&image, None, Access::ReadWrite).unwrap_err().kind(), xvirt_core::ErrorKind::Busy);
    }
}

#[test]
fn a_worker_that_dies_while_it_takes_over_leaves_the_guest_where_it_is() {
    let host = host!();
    let (old, new) = (Worker::start(), Worker::start());
    old.run(&Parts::new(&host, &ticking().shared_memory()));
    let mut console = old.console();
    console.tick();
    let (here, there) = UnixStream::pair().unwrap();
    let kvm = writable("/dev/kvm".as_ref());
    let take_over =
        TakeOver { host: Json::of(&host).unwrap(), kvm: Some(Slot(1)), channel: Slot(0), ..TakeOver::default() };
    // The answer comes once it has ended.
    thread::scope(|scope| {
        let (mut to, files) = (new.connect(), [there.as_fd(), kvm.as_fd()]);
        let waiting = scope.spawn(move || to.call(&Request::TakeOver(Box::new(take_over)), &files).unwrap_err());
        new.signal(rustix::process::Signal::KILL);
        waiting.join().unwrap();
    });
    drop(there);
    old.connect().call(&Request::HandOver { channel: Slot(0) }, &[here.as_fd()]).unwrap_err();
    let tick = console.tick();
    assert_eq!(console.tick(), tick + 1);
}

#[test]
fn a_hand_over_is_not_decided_twice() {
    let host = host!();
    let (old, new) = (Worker::start(), Worker::start());
    old.run(&Parts::new(&host, &ticking().shared_memory()));
    let mut console = old.console();
    let tick = console.tick();
    for moved in [true, false] {
        let refused = old.connect().call(&Request::ResolveHandOver { moved }, &[]).unwrap_err();
        assert_eq!(refused.kind(), xvirt_worker::kind::INVALID_STATE, "{refused}");
    }
    assert_eq!(console.tick(), tick + 1);
    let (sent, _) = hand_over(&host, &old, &new, &[]);
    sent.unwrap();
    let refused = new.connect().call(&Request::ResolveHandOver { moved: true }, &[]).unwrap_err();
    assert_eq!(refused.kind(), xvirt_worker::kind::INVALID_STATE, "{refused}");
    new.console().expect(&format!("tick {}\r", tick + 10));
}
