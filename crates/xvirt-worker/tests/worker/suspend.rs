//! Suspending to a descriptor, and resuming in another worker.

use std::fs::File;
use std::os::fd::AsFd;

use xvirt_core::vm::{Event, SuspendReport};
use xvirt_worker::protocol::{Answer, Request, Slot};
use xvirt_worker::{Cause, Exit};

use crate::host;
use crate::support::{Parts, Worker, ticking, writable};

#[test]
fn a_guest_goes_on_in_another_worker_where_it_was_suspended() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (disk, saved) = (folder.path().join("disk"), folder.path().join("saved"));
    File::create(&disk).unwrap().set_len(8 << 20).unwrap();
    File::create(&saved).unwrap();
    let config = ticking().disk(xvirt_core::config::Disk::raw(&disk));

    let one = Worker::start();
    one.run(&Parts::new(&host, &config).disk(&disk));
    let mut console = one.console();
    while console.tick() < 5 {}
    let file = writable(&saved);
    let answer = one.connect().call(&Request::Suspend { file: Slot(0) }, &[file.as_fd()]).unwrap();
    let Answer::Report(report) = answer else { panic!("{answer:?}") };
    assert!(report.read::<SuspendReport>("the report").unwrap().memory > 0);
    let Exit::Recorded(record) = one.wait() else { panic!() };
    assert_eq!(record.cause, Cause::Suspended);
    let last = console.rest();
    let ticks = |text: &str| text.matches("timer: tick").count();

    let two = Worker::start();
    let build = |state: &std::path::Path| {
        let mut parts = Parts::new(&host, &config).disk(&disk);
        parts.build.saved_state = Some(parts.add(writable(state)));
        parts
    };
    two.build(&build(&saved));
    assert_eq!(two.connect().describe().unwrap().power_state.as_deref(), Some("suspended"));
    let copy = folder.path().join("copy");
    std::fs::copy(&saved, &copy).unwrap();
    let resumed = two.connect().call(&Request::Resume { how: None }, &[]).unwrap();
    assert!(matches!(resumed, Answer::Report(_)), "{resumed:?}");
    two.events(0).expect(&Event::Resumed);
    let mut console = two.console();
    // It has the old output, and goes on with the next number.
    let text = console.expect("tick 40\r");
    assert_eq!(text.matches("timer: tick 1\r").count(), 1, "{text}");
    assert_eq!(ticks(&text), 40, "{text}\n{last}");

    // The file was used up before the guest ran.
    let three = Worker::start();
    let error = build(&saved).send(&mut three.connect()).unwrap_err();
    assert_eq!(error.kind(), "not_found", "{error}");
    assert!(matches!(three.wait(), Exit::Recorded(record) if matches!(record.cause, Cause::BuildFailed { .. })));
    // Even a copy of the state cannot run while the disk is locked.
    let four = Worker::start();
    four.build(&build(&copy));
    assert_eq!(four.connect().call(&Request::Resume { how: None }, &[]).unwrap_err().kind(), "busy");
}

#[test]
fn a_worker_that_ends_leaves_a_saved_state_as_it_is() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved");
    File::create(&saved).unwrap();
    let config = ticking();
    let one = Worker::start();
    one.run(&Parts::new(&host, &config));
    let mut console = one.console();
    while console.tick() < 5 {}
    one.connect().call(&Request::Suspend { file: Slot(0) }, &[writable(&saved).as_fd()]).unwrap();
    one.wait();

    let built = || {
        let worker = Worker::start();
        let mut parts = Parts::new(&host, &config);
        parts.build.saved_state = Some(parts.add(writable(&saved)));
        worker.build(&parts);
        worker
    };
    let unused = built();
    unused.ask(Request::End);
    let Exit::Recorded(record) = unused.wait() else { panic!("{}", unused.log()) };
    assert_eq!(record.cause, Cause::Requested);
    let two = built();
    two.connect().call(&Request::Resume { how: None }, &[]).unwrap();
    let text = two.console().expect("tick 10\r");
    assert_eq!(text.matches("timer: tick 1\r").count(), 1, "{text}");
    // Once it runs, it is powered off as any other.
    two.ask(Request::End);
    let Exit::Recorded(record) = two.wait() else { panic!("{}", two.log()) };
    assert_eq!(record.cause, Cause::Requested);
}

#[test]
fn a_guest_does_not_go_on_when_its_disk_was_changed() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (disk, saved) = (folder.path().join("disk"), folder.path().join("saved"));
    [&disk, &saved].into_iter().for_each(|path| drop(File::create(path).unwrap()));
    writable(&disk).set_len(8 << 20).unwrap();
    let config = ticking().disk(xvirt_core::config::Disk::raw(&disk));
    let one = Worker::start();
    one.run(&Parts::new(&host, &config).disk(&disk));
    one.connect().call(&Request::Suspend { file: Slot(0) }, &[writable(&saved).as_fd()]).unwrap();
    one.wait();

    std::os::unix::fs::FileExt::write_all_at(&writable(&disk), b"changed", 0).unwrap();
    let two = Worker::start();
    let mut parts = Parts::new(&host, &config).disk(&disk);
    parts.build.saved_state = Some(parts.add(writable(&saved)));
    two.build(&parts);
    let error = two.connect().call(&Request::Resume { how: None }, &[]).unwrap_err();
    assert!(error.message().contains("an open file was changed after the VM was suspended"), "{error}");
}

#[test]
fn a_suspend_that_fails_leaves_the_guest_running() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    let mut console = worker.console();
    console.tick();
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full");
    std::fs::write(&full, "not empty").unwrap();
    let suspend = Request::Suspend { file: Slot(0) };
    let error = worker.connect().call(&suspend, &[writable(&full).as_fd()]).unwrap_err();
    assert!(error.to_string().contains("the file is not empty; give a new file"), "{error}");
    let readable = File::open(&full).unwrap();
    assert!(
        worker.connect().call(&suspend, &[readable.as_fd()]).unwrap_err().message().contains("not open for writing")
    );
    assert!(worker.connect().call(&suspend, &[]).unwrap_err().message().contains("was not sent"));
    let tick = console.tick();
    assert_eq!(console.tick(), tick + 1);
}
