//! Tests with programs that stand in for `passt`, and with passt itself if it is installed.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, Signal, kill_process_group};
use xvirt_testing::stand_in::{StandIn, exists, wait_until};

use super::process::{Passt, readable};
use super::{PasstCommand, Supervisor};
use crate::net::{FrameStream, MacAddress};
use crate::{Error, ErrorKind};

const PATIENCE: Duration = Duration::from_secs(60);
const MAC: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 1]);
/// Reads frames until the socket is closed, as `passt` does.
const CARRY: &str = "exec cat <&3 >/dev/null";

/// Signals 32 and 33, which glibc ignores in all programs it spawns.
const SIGNALS_OF_GLIBC: u64 = 3 << 31;
/// Exits on the first byte after the initial frame.
const END_ON_A_BYTE: &str = "head -c 65 <&3 >/dev/null";

fn command(stand_in: &StandIn) -> PasstCommand {
    PasstCommand { program: stand_in.program(), options: vec!["--option".into()] }
}

fn supervise(stand_in: &StandIn) -> (Supervisor, UnixStream) {
    Supervisor::start(command(stand_in), MAC).unwrap()
}

/// The socket of a restarted `passt`.
fn reconnected(supervisor: &Supervisor) -> UnixStream {
    let mut socket = None;
    wait_until("it is started again", || {
        socket = supervisor.reconnect();
        socket.is_some()
    });
    socket.unwrap().into()
}

fn refused(command: PasstCommand) -> Error {
    Supervisor::start(command, MAC).map(|_| ()).unwrap_err()
}

#[test]
fn one_that_is_not_there_is_to_be_installed() {
    let error = refused(PasstCommand { program: "passt-that-is-not-there".into(), options: Vec::new() });
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        "cannot start passt-that-is-not-there: No such file or directory (os error 2); install the package passt \
         (https://passt.top)"
    );
    let error = refused(PasstCommand { program: "/no/passt".into(), options: Vec::new() });
    assert!(error.to_string().ends_with("check the path of the program"), "{error}");
}

#[test]
fn one_that_refuses_says_why() {
    let stand_in = StandIn::new("echo template: eth0 >&2; echo \"Failed to bind any port for '-t 22'\" >&2; exit 3");
    let error = refused(command(&stand_in));
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(
        error.to_string(),
        format!(
            "{} --option exited at once (exit status 3): template: eth0, Failed to bind any port for '-t 22'; forward \
             another port of the host, or stop the program that uses it; ports below 1024 need a privilege",
            stand_in.program().display()
        )
    );
    let reasons = [
        ("No external routable interface for IPv4", ErrorKind::HostUnsupported),
        ("External interface not usable", ErrorKind::HostUnsupported),
        ("Couldn't create user namespace: Operation not permitted", ErrorKind::PermissionDenied),
        ("Invalid interface name nope", ErrorKind::NotFound),
        ("Usage: passt [OPTION]...", ErrorKind::HostUnsupported),
        ("what nobody knows", ErrorKind::Io),
    ];
    for (said, kind) in reasons {
        let error = refused(command(&StandIn::new(&format!("echo \"{said}\" >&2; exit 1"))));
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(said) && error.remedy().is_some(), "{error}");
    }
    assert!(!exists(stand_in.started(1)[0]), "it is left as a zombie");
    let killed = refused(command(&StandIn::new("kill -9 $$"))).to_string();
    assert!(killed.contains("exited at once (signal 9): it printed nothing; "), "{killed}");
}

#[test]
fn it_gets_one_socket_and_no_signals_and_no_environment_also_when_started_again() {
    let report = "report=${0%/*}/report.$$; grep -e SigBlk -e SigIgn /proc/self/status >$report; env >>$report; \
                  tr '\\0' ' ' </proc/$$/cmdline >$report.args";
    let stand_in = StandIn::new(&format!("{report}; {END_ON_A_BYTE}"));
    let (supervisor, mut first) = supervise(&stand_in);
    first.write_all(&[0]).unwrap();
    let _second = reconnected(&supervisor);
    for process in stand_in.started(2) {
        let read = |what: &str| std::fs::read_to_string(stand_in.path(&format!("report.{process}{what}"))).unwrap();
        let status = read("");
        for set in ["SigBlk:\t", "SigIgn:\t"] {
            let signals = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
            let signals = u64::from_str_radix(signals, 16).unwrap() & !SIGNALS_OF_GLIBC;
            assert_eq!(signals, 0, "{set}of process {process}");
        }
        // Variables that the shell itself sets.
        let shell = ["PWD=", "OLDPWD=", "SHLVL=", "_=", "Sig"];
        let strangers: Vec<_> = status.lines().filter(|line| !shell.iter().any(|own| line.starts_with(own))).collect();
        assert!(strangers.is_empty(), "{strangers:?}");
        assert!(read(".args").ends_with("program --foreground --fd 3 --option "), "{}", read(".args"));
    }
}

#[test]
fn one_that_ends_is_started_again_and_none_is_left() {
    let stand_in = StandIn::new(CARRY);
    let (supervisor, mut socket) = supervise(&stand_in);
    assert!(supervisor.reconnect().is_none(), "it runs");
    for round in 1..3 {
        let began = Instant::now();
        // Its connection is closed, so it exits.
        drop(socket);
        socket = reconnected(&supervisor);
        let pause = Duration::from_millis(250) * round;
        assert!(began.elapsed() >= pause, "round {round} after {:?}", began.elapsed());
        assert!(supervisor.reconnect().is_none(), "each socket is given once");
    }
    let processes = stand_in.started(3);
    assert!(!exists(processes[0]) && !exists(processes[1]) && exists(processes[2]));
    drop(supervisor);
    assert!(!exists(processes[2]), "it ends with its supervisor");
    assert_eq!(socket.read(&mut [0; 1]).unwrap(), 0, "nobody is at the other end");
    assert_eq!(stand_in.started(3).len(), 3);
}

#[test]
fn one_that_hangs_or_is_paused_for_ends_at_once() {
    // It ignores signals, and its child keeps its output open.
    let stand_in = StandIn::new("trap '' TERM INT HUP; sleep 1000 & head -c 64 <&3 >/dev/null; while :; do wait; done");
    let (supervisor, _socket) = supervise(&stand_in);
    let process = stand_in.started(1)[0];
    let began = Instant::now();
    drop(supervisor);
    assert!(!exists(process) && began.elapsed() < PATIENCE / 2);
    // Its child is still in its process group.
    kill_process_group(Pid::from_raw(process as i32).unwrap(), Signal::KILL).unwrap();

    let stand_in = StandIn::new(END_ON_A_BYTE);
    let (supervisor, mut socket) = supervise(&stand_in);
    let process = stand_in.started(1)[0];
    socket.write_all(&[0]).unwrap();
    wait_until("it has ended", || !exists(process));
    drop(supervisor);
    assert_eq!(stand_in.started(1).len(), 1, "it is not started any more");
}

#[test]
fn a_start_that_is_not_needed_any_more_ends() {
    // It never reads a frame.
    let stand_in = StandIn::new("exec sleep 1000");
    let stop = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    thread::scope(|scope| {
        let start = scope.spawn(|| Passt::start(&command(&stand_in), MAC, stop.as_fd()).map(|_| ()).unwrap_err());
        let process = stand_in.started(1)[0];
        rustix::io::write(&stop, &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(start.join().unwrap().kind(), ErrorKind::Cancelled);
        assert!(!exists(process));
    });
}

#[test]
fn a_stream_of_frames_comes_back_with_another_passt() {
    // The first one exits on the first frame after the initial one.
    let stand_in = StandIn::new("head -c 128 <&3 >/dev/null");
    let stream = FrameStream::passt(command(&stand_in), MAC).unwrap();
    assert!(stream.path().is_none() && !stream.reconnect());
    stream.send(|frame| frame.extend([0; 60])).unwrap();
    wait_until("the end is seen", || {
        stream.receive(&mut [0; 100]).is_err_and(|error| error.kind() == io::ErrorKind::NotConnected)
    });
    wait_until("it is connected again", || stream.reconnect());
    stream.send(|frame| frame.extend([0; 60])).unwrap();
    let processes = stand_in.started(2);
    drop(stream);
    assert!(processes.into_iter().all(|process| !exists(process)));
}

/// The real passt with `options`, if it is installed and finds a route.
fn real(test: &str, options: &[&str]) -> Option<PasstCommand> {
    let command =
        PasstCommand { program: "passt".into(), options: options.iter().map(|text| (*text).into()).collect() };
    match Supervisor::start(command.clone(), MAC) {
        Ok(_) => Some(command),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::HostUnsupported) => {
            println!("SKIPPED {test}: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn passt_answers_the_guest_and_says_which_port_is_taken() {
    const TEST: &str = "passt_answers_the_guest_and_says_which_port_is_taken";
    let address = ["--address", "10.9.0.15", "--netmask", "24", "--gateway", "10.9.0.2", "--no-map-gw"];
    let Some(command) = real(TEST, &address) else { return };
    let stream = FrameStream::passt(command.clone(), MAC).unwrap();
    // Who has 10.9.0.2? (RFC 826)
    let mut request = [&[0xff; 6][..], &MAC.octets(), &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &MAC.octets()].concat();
    request.extend([10, 9, 0, 15, 0, 0, 0, 0, 0, 0, 10, 9, 0, 2]);
    stream.send(|frame| frame.extend(&request)).unwrap();
    let mut answer = [0; 2048];
    let is_reply = |length: usize, frame: &[u8]| length >= 42 && frame[12..14] == [8, 6] && frame[21] == 2;
    wait_until("an answer", || stream.receive(&mut answer).is_ok_and(|length| is_reply(length, &answer)));
    assert_eq!((&answer[..6], &answer[28..32]), (&MAC.octets()[..], &[10, 9, 0, 2][..]));
    drop(stream);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = command;
    let port = format!("127.0.0.1/{}:22", taken.local_addr().unwrap().port());
    command.options.extend(["--tcp-ports".into(), port.clone()]);
    let error = refused(command.clone());
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.to_string().contains(&port), "{error}");
    // The port is free as soon as passt has ended, so that a restarted VM can use it.
    drop(taken);
    for _ in 0..5 {
        drop(Supervisor::start(command.clone(), MAC).unwrap());
    }
}

#[test]
fn passt_ends_by_itself_when_this_process_has_closed_the_socket() {
    const TEST: &str = "passt_ends_by_itself_when_this_process_has_closed_the_socket";
    let Some(command) = real(TEST, &["--tcp-ports", "none", "--udp-ports", "none"]) else { return };
    let stop = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let (mut passt, socket) = Passt::start(&command, MAC, stop.as_fd()).unwrap();
    assert_eq!(readable([stop.as_fd()], Some(Duration::ZERO)).unwrap(), [false]);
    drop(socket);
    assert_eq!(passt.wait(stop.as_fd()).unwrap(), "exit status 0", "{}", passt.last_lines());
}
