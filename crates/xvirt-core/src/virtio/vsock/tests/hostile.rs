//! Drivers and programs that violate the protocol.

use std::io::Read;
use std::os::unix::net::UnixStream;

use super::super::Vsock;
use super::super::connection::BUFFER;
use super::super::device::{RECEIVE, TRANSMIT};
use super::super::packet::{HEADER, Op, SHUTDOWN_SEND};
use super::super::table::{MAX_ANSWERS, MAX_CONNECTIONS};
use super::{CID, Guest, ROOM, Raw, answer};
use crate::ErrorKind;
use crate::descriptor::Descriptor;
use crate::device::Device;
use crate::virtio::VsockState;
use crate::virtio::testing::{DATA, Piece, wait};

#[test]
fn what_makes_no_sense_is_reset() {
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    for op in [Op::Response, Op::Data, Op::Shutdown, Op::CreditUpdate, Op::CreditRequest] {
        guest.send(op, 7, 9000);
        guest.expect(Op::Reset, 7, 9000);
    }
    for op in [0, 8, 0xffff] {
        guest.send_raw(guest.header(op, 7, 9000), &[]);
        guest.expect(Op::Reset, 7, 9000);
    }
    let request = guest.header(Op::Request as u16, 7, 9000);
    guest.send_raw(Raw { kind: 2, ..request }, &[]);
    guest.expect(Op::Reset, 7, 9000);
    guest.send_raw(Raw { destination_cid: 5, ..request }, &[]);
    assert_eq!(guest.expect(Op::Reset, 7, 9000).source_cid, 5);
    // A foreign source and a reset get no answer.
    guest.send_raw(Raw { source_cid: 43, ..request }, &[]);
    guest.send(Op::Reset, 7, 9000);
    for (op, length, data) in
        [(Op::Data, 5, &b"four"[..]), (Op::Data, 70_000, b"x"), (Op::Response, 0, b""), (Op::Request, 0, b"")]
    {
        let mut program = guest.connect(7, 9000, &listener);
        guest.send_raw(Raw { length, ..guest.header(op as u16, 7, 9000) }, data);
        guest.expect(Op::Reset, 7, 9000);
        assert_eq!(program.read(&mut [0]).unwrap(), 0, "{op:?}");
    }
}

#[test]
fn data_beyond_what_was_granted_or_after_the_end_ends_the_connection() {
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    let _program = guest.connect(7, 9000, &listener);
    let chunk = vec![1; ROOM];
    // The socket buffers some, and the device its credit; beyond that, it resets the connection.
    let most = (8 << 20) / ROOM;
    let ended = (0..most).any(|_| {
        let raw = guest.header(Op::Data as u16, 7, 9000);
        guest.send_raw(Raw { length: ROOM as u32, ..raw }, &chunk);
        guest.send(Op::CreditRequest, 7, 9000);
        match guest.receive().0.op {
            Some(Op::Reset) => true,
            Some(Op::CreditUpdate) => false,
            other => panic!("{other:?}"),
        }
    });
    assert!(ended, "the device keeps more than {BUFFER} bytes");
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    let _program = guest.connect(8, 9000, &listener);
    guest.shut_down(8, 9000, SHUTDOWN_SEND);
    guest.send_data(8, 9000, b"more");
    guest.expect(Op::Reset, 8, 9000);
}

#[test]
fn answers_that_nobody_takes_stop_the_driver_not_the_host() {
    let mut guest = Guest::without_buffers();
    for _ in 0..MAX_ANSWERS {
        guest.send(Op::Data, 7, 9000);
    }
    let place = guest.rig.used_index(TRANSMIT);
    guest.rig.fill(DATA, &[0; HEADER]);
    for _ in 0..4 {
        guest.rig.post(TRANSMIT, &[Piece::Read(DATA + 0x10_0000, HEADER as u32)]);
    }
    guest.rig.kick(TRANSMIT);
    // Once paused, it has read all that it will read.
    guest.rig.pci.pause();
    guest.rig.pci.resume();
    assert_eq!(guest.rig.used_index(TRANSMIT), place, "one more answer is kept than there should be");
    guest.post_buffers();
    for _ in 0..MAX_ANSWERS + 4 {
        guest.expect(Op::Reset, 7, 9000);
    }
    wait("the rest of the packets", || guest.rig.used_index(TRANSMIT) == place.wrapping_add(4));
}

#[test]
fn there_is_an_end_to_connections() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills a struct on our stack.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    let enough = limit.rlim_max.min(4096).max(limit.rlim_cur);
    limit.rlim_cur = enough;
    // SAFETY: it only raises a limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    if enough < 4096 {
        return println!("SKIPPED there_is_an_end_to_connections: the process may have {enough} descriptors only");
    }
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    let mut programs: Vec<_> = (0..MAX_CONNECTIONS as u32).map(|i| guest.connect(5000 + i, 9000, &listener)).collect();
    guest.send(Op::Request, 1, 9000);
    guest.expect(Op::Reset, 1, 9000);
    // The device also refuses a program.
    let mut program = UnixStream::connect(&guest.path).unwrap();
    assert_eq!(program.read(&mut [0]).unwrap(), 0);
    guest.send(Op::Reset, 5000, 9000);
    assert_eq!(programs.swap_remove(0).read(&mut [0]).unwrap(), 0);
    guest.connect(1, 9000, &listener);
}

#[test]
fn a_header_that_is_not_there_needs_a_reset() {
    let mut guest = Guest::new();
    guest.rig.post(TRANSMIT, &[Piece::Read(DATA, HEADER as u32 - 1)]);
    guest.rig.kick(TRANSMIT);
    guest.rig.wait_needs_reset();
    let mut guest = Guest::without_buffers();
    guest.send(Op::Request, 1, 9000);
    guest.rig.post(RECEIVE, &[Piece::Write(DATA, HEADER as u32 - 1)]);
    guest.rig.kick(RECEIVE);
    guest.rig.wait_needs_reset();
}

#[test]
fn buffers_without_room_for_data_do_not_lose_any() {
    let mut guest = Guest::without_buffers();
    let listener = guest.listen(9000);
    guest.rig.post(RECEIVE, &[Piece::Write(DATA, HEADER as u32)]);
    guest.send(Op::Request, 7, 9000);
    guest.rig.kick(RECEIVE);
    assert_eq!(guest.rig.used(RECEIVE).1, HEADER as u32);
    let (program, _) = listener.accept().unwrap();
    std::io::Write::write_all(&mut &program, b"data").unwrap();
    guest.rig.post(RECEIVE, &[Piece::Write(DATA, HEADER as u32)]);
    guest.rig.kick(RECEIVE);
    assert_eq!(guest.rig.used(RECEIVE).1, HEADER as u32);
    guest.post_buffers();
    assert_eq!(guest.receive_data(4), b"data");
}

#[test]
fn a_listener_that_was_handed_in_is_used_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("programs");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let descriptor = Descriptor::from(listener);
    let state = || VsockState { guest_cid: CID };
    let elsewhere = folder.path().join("guest");
    drop(Vsock::with_listener(&elsewhere, &descriptor, state(), false).unwrap());
    assert!(path.exists() && !elsewhere.exists());
    UnixStream::connect(&path).unwrap();
    drop(Vsock::with_listener(&elsewhere, &descriptor, state(), false).unwrap());

    let (connected, _peer) = UnixStream::pair().unwrap();
    for (descriptor, why) in [
        (std::os::fd::OwnedFd::from(connected), "it does not listen"),
        (std::fs::File::open("/").unwrap().into(), "it is not a unix stream socket"),
        (std::net::TcpListener::bind("127.0.0.1:0").unwrap().into(), "it is not a unix stream socket"),
    ] {
        let error = Vsock::with_listener(&elsewhere, &descriptor.into(), state(), false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        let text = format!("as a vsock socket: {why}; give a unix stream socket that listens: listen(2)");
        assert!(error.to_string().ends_with(&text), "{error}");
    }
}

#[test]
fn a_socket_of_somebody_else_is_left_alone_and_a_stale_one_replaced() {
    let guest = Guest::new();
    let state = || VsockState { guest_cid: CID };
    let error = Vsock::new(&guest.path, state(), false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.remedy().unwrap().contains("choose another path"), "{error}");
    // It is still the first device's socket.
    assert!(UnixStream::connect(&guest.path).is_ok());
    let stale = guest.path.with_extension("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let second = Vsock::new(&stale, state(), false).unwrap();
    assert!(stale.exists());
    drop(second);
    assert!(!stale.exists(), "the socket outlives its device");
    std::fs::write(&stale, "a file").unwrap();
    assert_eq!(Vsock::new(&stale, state(), false).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&stale).unwrap(), b"a file");
}

#[test]
fn a_program_that_dribbles_its_question_is_understood() {
    use std::io::Write;
    let mut guest = Guest::new();
    let mut program = guest.ask("CONN");
    for byte in b"ECT 5\n" {
        program.write_all(&[*byte]).unwrap();
    }
    let port = guest.accept(5);
    assert_eq!(answer(&program), format!("OK {port}\n"));
}
