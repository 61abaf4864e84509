//! A VM from its start to its end, by requests.

use std::io::Write;

use xvirt_core::config::{NicLimit, RateLimit, VmConfig};
use xvirt_core::vm::{Event, Statistics};
use xvirt_worker::protocol::{Answer, Json, Request};
use xvirt_worker::{Cause, Exit, Settings, Wall, kind};

use crate::host;
use crate::support::{Parts, TIMEOUT, Worker, ticking};

#[test]
fn a_vm_is_started_used_and_shut_down_by_requests() {
    let host = host!();
    let worker = Worker::start();
    let mut service = worker.connect();
    let empty = service.describe().unwrap();
    assert_eq!((empty.vm, empty.power_state, empty.last_event), (None, None, 0));
    assert_eq!(service.call(&Request::Start, &[]).unwrap_err().kind(), kind::INVALID_STATE);

    let mut parts = Parts::new(&host, &ticking());
    parts.build.owner_epoch = 7;
    parts.send(&mut service).unwrap();
    let mut events = worker.events(0);
    let nothing = |request| assert_eq!(worker.connect().call(&request, &[]).unwrap(), Answer::Nothing);
    nothing(Request::Start);
    events.expect(&Event::Started);
    let mut console = worker.console();
    console.expect("echo: ready");
    console.stream.write_all(b"ping\n").unwrap();
    console.expect("pong");

    nothing(Request::Pause);
    events.expect(&Event::Paused);
    let description = service.describe().unwrap();
    assert_eq!(description.power_state.as_deref(), Some("paused"));
    assert_eq!((description.owner_epoch, description.name.as_deref()), (Some(7), Some("demo")));
    let config: VmConfig = description.config.unwrap().read("the configuration").unwrap();
    assert_eq!(Json::of(&config).unwrap().0, parts.build.config.0, "with the names that it was built with");
    nothing(Request::Unpause);
    events.expect(&Event::Unpaused);
    console.tick();

    nothing(Request::HardReboot);
    events.expect(&Event::HardReset);
    console.expect("echo: ready");
    nothing(Request::CleanReboot { timeout: TIMEOUT });
    events.expect(&Event::GuestReset);
    console.expect("echo: ready");
    let Answer::Statistics(statistics) = service.call(&Request::Statistics, &[]).unwrap() else { panic!() };
    let statistics: Statistics = statistics.read("statistics").unwrap();
    assert_eq!(statistics.vcpus.len(), 1);
    nothing(Request::SetMemoryTarget { target: 48 << 20 });
    // There is no such device.
    let limit = Json::of(&RateLimit::none()).unwrap();
    let refused = |request| worker.connect().call(&request, &[]).unwrap_err();
    assert_eq!(refused(Request::SetDiskLimit { position: 3, limit }).kind(), "not_found");
    let limit = Json::of(&NicLimit::none()).unwrap();
    assert_eq!(refused(Request::SetNicLimit { position: 0, limit }).kind(), "not_found");

    nothing(Request::CleanShutdown { timeout: TIMEOUT });
    events.expect(&Event::GuestShutdown);
    while events.next().is_some() {}
    let Exit::Recorded(record) = worker.wait() else { panic!("{}", worker.log()) };
    assert_eq!((record.cause, record.vm), (Cause::GuestShutdown, description.vm));
    console.rest();
}

/// All walls of the sandbox, as far as this host has them, stand around a running guest.
#[test]
fn a_guest_runs_behind_all_walls() {
    let host = host!();
    let settings = Settings::new(0).memory_limit(1 << 30).identity(65_534, 65_534).open_files(200);
    let worker = Worker::with(&settings);
    let missing = worker.connect().describe().unwrap().missing_walls;
    println!("walls that do not stand here: {missing:?}");
    if rustix::process::geteuid().is_root() {
        let absent: Vec<_> = missing.iter().map(|wall| &*wall.wall).collect();
        assert!(absent.iter().all(|wall| [Wall::Landlock.name()].contains(wall)), "{absent:?}");
    }
    worker.run(&Parts::new(&host, &ticking()));
    let mut console = worker.console();
    let first = console.tick();
    assert_eq!(console.tick(), first + 1);
}

#[test]
fn walls_that_are_missing_are_named_and_can_be_required() {
    let worker = Worker::with(&Settings::new(0));
    let missing = worker.connect().describe().unwrap().missing_walls;
    for wall in [Wall::Limits, Wall::Identity] {
        assert!(missing.iter().any(|missing| missing.wall == wall.name()), "{missing:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::new(0).require(Wall::Identity);
    let error = crate::support::launch_in(folder.path(), &settings, None).unwrap_err();
    assert_eq!(error.kind(), kind::HOST_UNSUPPORTED);
    let record = std::fs::File::open(folder.path().join("exit")).unwrap();
    let Exit::Recorded(record) = xvirt_worker::ExitRecord::read(&record).unwrap() else { panic!() };
    let Cause::NotStarted { error } = record.cause else { panic!("{:?}", record.cause) };
    assert!(error.message().contains("the wall 'identity' does not stand"), "{error}");
}
