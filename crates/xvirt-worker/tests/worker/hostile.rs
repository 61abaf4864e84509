//! Peers that break the protocol, are slow, or do not read.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use xvirt_core::demo::{CommandLine, Mode};
use xvirt_worker::protocol::{NumberedRequest, Outcome, Reply, Request, VERSIONS, decode, encode, receive, send};
use xvirt_worker::{Settings, kind};

use crate::host;
use crate::support::{Console, PATIENCE, Parts, Worker, config, ticking};

fn counts_on(console: &mut Console) {
    let tick = console.tick();
    assert_eq!(console.tick(), tick + 1);
}

fn reply(stream: &UnixStream) -> Reply {
    decode(&receive(stream, PATIENCE).unwrap().unwrap().bytes).unwrap()
}

fn refused(stream: &UnixStream) -> String {
    match reply(stream).outcome {
        Outcome::Failed(error) => error.kind().to_owned(),
        done => panic!("{done:?}"),
    }
}

#[test]
fn malformed_messages_end_their_connection_and_nothing_else() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    let mut console = worker.console();

    let stream = worker.stream();
    send(&stream, b"\xc1 nothing", &[]).unwrap();
    assert_eq!(refused(&stream), kind::PROTOCOL);
    assert!(receive(&stream, PATIENCE).unwrap().is_none());

    for bytes in [&[0xff; 4][..], &[0, 0, 0x20, 0], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = worker.stream();
        stream.write_all(bytes).unwrap();
        let ended = stream.read(&mut [0; 1]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }

    // Without a hello, and with a request that no version has.
    let stream = worker.stream();
    let start = NumberedRequest { id: 1, request: Request::HardShutdown };
    send(&stream, &encode(&start).unwrap(), &[]).unwrap();
    assert_eq!(refused(&stream), kind::PROTOCOL);
    #[derive(serde::Serialize)]
    struct Unknown {
        id: u64,
        request: &'static str,
    }
    send(&stream, &encode(&Unknown { id: 2, request: "self_destruct" }).unwrap(), &[]).unwrap();
    assert_eq!(refused(&stream), kind::UNKNOWN_REQUEST);
    // The connection goes on.
    let hello = Request::Hello { versions: VERSIONS, features: Vec::new() };
    send(&stream, &encode(&NumberedRequest { id: 3, request: hello }).unwrap(), &[]).unwrap();
    assert!(matches!(reply(&stream).outcome, Outcome::Done(_)));
    counts_on(&mut console);
}

#[test]
fn slow_peers_and_peers_that_do_not_read_stop_nobody() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    let mut console = worker.console();
    // Half a message each, events and a console that are never read, and requests whose replies are not read.
    let halves: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = worker.stream();
            stream.write_all(&[100, 0, 0, 0, 1]).unwrap();
            stream
        })
        .collect();
    let unread = (worker.events(0), worker.console());
    let flood = worker.stream();
    flood.set_nonblocking(true).unwrap();
    let describe = encode(&NumberedRequest { id: 1, request: Request::Describe }).unwrap();
    while send(&flood, &describe, &[]).is_ok() {}
    let mut typist = worker.console();
    typist.stream.set_nonblocking(true).unwrap();
    while typist.stream.write(&[b'x'; 4096]).is_ok() {}

    for _ in 0..50 {
        worker.ask(Request::Pause);
        worker.ask(Request::Unpause);
    }
    counts_on(&mut console);
    drop((halves, unread, flood, typist));
    worker.ask(Request::HardShutdown);
    worker.wait();
}

#[test]
fn connections_beyond_the_limit_are_closed() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    let mut console = worker.console();
    let open: Vec<_> = (0..40).map(|_| worker.stream()).collect();
    let closed = |mut stream: &UnixStream| {
        stream.set_read_timeout(Some(std::time::Duration::from_millis(1))).unwrap();
        matches!(stream.read(&mut [0; 1]), Ok(0))
    };
    worker.wait_log("refused a connection: 32 are open");
    assert!(open.iter().any(closed));
    counts_on(&mut console);
    drop(open);
    // There is room again, once their threads have seen it.
    let answered = (0..10_000).any(|_| {
        let again = xvirt_worker::Connection::over(worker.stream());
        again.is_ok_and(|mut connection| connection.describe().is_ok())
    });
    assert!(answered);
}

#[test]
fn other_users_are_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED other_users_are_refused: needs root, to be another user");
        return;
    }
    let worker = Worker::with(&Settings::new(1234));
    let socket = worker.path("socket");
    for folder in [worker.folder.path(), &socket] {
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    for (user, answered) in [(0, true), (1234, true), (4321, false)] {
        let path = socket.clone();
        let asked = std::thread::spawn(move || {
            // SAFETY: it changes the user of this thread only, which ends here.
            assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) }, 0);
            xvirt_worker::Connection::open(path).is_ok()
        });
        assert_eq!(asked.join().unwrap(), answered, "{user}");
    }
}

#[test]
fn whoever_listened_to_a_quiet_vm_and_left_is_forgotten() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    // More than a worker serves at once. Nothing happens meanwhile that would be sent to them.
    for number in 0..100 {
        let deadline = std::time::Instant::now() + PATIENCE;
        let listen = || xvirt_worker::Connection::over(worker.stream())?.events(u64::MAX);
        while let Err(error) = listen() {
            assert!(std::time::Instant::now() < deadline, "{number}: {error}");
        }
    }
}

#[test]
fn a_request_that_waits_ends_when_its_peer_hangs_up() {
    let host = host!();
    let worker = Worker::start();
    // This guest does not listen.
    worker.run(&Parts::new(&host, &config(&CommandLine::new([Mode::Hostile]).every(1))));
    worker.console().expect("hostile: round");
    for _ in 0..40 {
        let stream = worker.stream();
        let hello = Request::Hello { versions: VERSIONS, features: Vec::new() };
        let ask = |id, request| send(&stream, &encode(&NumberedRequest { id, request }).unwrap(), &[]).unwrap();
        ask(1, hello);
        assert!(matches!(reply(&stream).outcome, Outcome::Done(_)));
        ask(2, Request::CleanShutdown { timeout: 24 * 3600 * 1000 });
        // The answer says that it was cancelled, as long as there is somebody to read it.
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(refused(&stream), "cancelled");
    }
    worker.ask(Request::HardShutdown);
    worker.wait();
}

#[test]
fn consoles_leave_room_for_requests() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    let consoles: Vec<_> = (0..24).map(|_| worker.console()).collect();
    let error = worker.connect().events(0).unwrap_err();
    assert_eq!(error.kind(), kind::LIMIT_EXCEEDED, "{error}");
    for _ in 0..3 {
        worker.ask(Request::Pause);
        worker.ask(Request::Unpause);
    }
    drop(consoles);
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = worker.connect().events(0) {
        assert!(Instant::now() < deadline, "{error}");
    }
}
