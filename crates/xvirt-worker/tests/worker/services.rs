//! Services that come, go, are killed, and are several.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::process::Signal;
use xvirt_core::vm::Event;
use xvirt_worker::protocol::Request;
use xvirt_worker::{Connection, Exit};

use crate::host;
use crate::support::{Parts, Worker, ticking};

#[test]
fn a_guest_counts_on_while_its_service_is_away() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    let mut console = worker.console();
    let before = console.tick();
    let started = worker.events(0).expect(&Event::Started);
    drop(console);
    worker.ask(Request::Pause);
    worker.ask(Request::Unpause);

    // Everything since is there for the next service, and the guest was not reset.
    let mut events = worker.events(started);
    assert_eq!(events.next(), Some((started + 1, Event::Paused)));
    assert_eq!(events.next(), Some((started + 2, Event::Unpaused)));
    let text = worker.console().expect(&format!("tick {}\r", before + 20));
    assert_eq!(text.matches("timer: tick 1\r").count(), 1, "{text}");
    assert_eq!(worker.connect().describe().unwrap().last_event, started + 2);
}

/// The other process of the test below; does nothing when run as an ordinary test.
#[test]
fn connects_and_waits_to_be_killed() {
    let Some(path) = std::env::var_os(SERVICE) else { return };
    let mut connection = Connection::open(path).unwrap();
    connection.call(&Request::Describe, &[]).unwrap();
    println!("connected");
    // It never comes: the guest is not asked to shut down.
    let _ = connection.events(0).map(|mut events| while let Ok(Some(_)) = events.next(None) {});
}

const SERVICE: &str = "XVIRT_TEST_SERVICE";

#[test]
fn a_service_that_is_killed_takes_no_vm_with_it() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    let mut console = worker.console();
    for _ in 0..3 {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut service = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "services::connects_and_waits_to_be_killed", "--nocapture"])
            .env(SERVICE, worker.path("socket"))
            .stdout(Stdio::from(OwnedFd::from(writer)))
            .spawn()
            .unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(reader));
        assert!(lines.any(|line| line.unwrap().contains("connected")));
        service.kill().unwrap();
        service.wait().unwrap();
        let tick = console.tick();
        assert_eq!(console.tick(), tick + 1);
    }
    assert_eq!(worker.connect().describe().unwrap().power_state.as_deref(), Some("running"));
}

#[test]
fn two_services_use_a_worker_at_once() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    let (mut one, mut two) = (worker.connect(), worker.connect());
    let mut consoles = [worker.console(), worker.console()];
    for _ in 0..20 {
        one.call(&Request::Pause, &[]).unwrap();
        assert_eq!(two.describe().unwrap().power_state.as_deref(), Some("paused"));
        assert_eq!(two.call(&Request::Pause, &[]).unwrap_err().kind(), "invalid_state");
        two.call(&Request::Unpause, &[]).unwrap();
    }
    consoles[0].stream.write_all(b"ping\n").unwrap();
    consoles.iter_mut().for_each(|console| {
        console.expect("pong");
    });
}

#[test]
fn a_signal_to_end_is_logged_and_ignored() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    let mut console = worker.console();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        worker.signal(signal);
        worker.wait_log(&format!("number={}", signal.as_raw()));
        console.tick();
    }
    assert!(!worker.is_over());
    worker.ask(Request::End);
    let Exit::Recorded(record) = worker.wait() else { panic!() };
    assert_eq!(record.cause, xvirt_worker::Cause::Requested);
}
