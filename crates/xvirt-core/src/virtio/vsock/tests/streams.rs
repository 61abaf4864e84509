//! Connections that follow the protocol.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::super::connection::BUFFER;
use super::super::packet::{Op, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use super::{CID, Guest, ROOM, answer, pattern};
use crate::virtio::testing::EVENT_IDX;

#[test]
fn the_driver_sees_its_identifier() {
    let guest = Guest::new();
    assert_eq!(u64::from_le_bytes(guest.rig.config(0)), CID);
}

#[test]
fn a_guest_reaches_a_program_and_both_talk() {
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    let mut program = guest.connect(1025, 9000, &listener);
    let data = pattern(3000, 1);
    guest.send_data(1025, 9000, &data);
    let mut got = vec![0; data.len()];
    program.read_exact(&mut got).unwrap();
    assert!(got == data);
    let data = pattern(3 * ROOM, 2);
    program.write_all(&data).unwrap();
    assert!(guest.receive_data(data.len()) == data);
}

#[test]
fn a_program_reaches_the_guest_and_both_talk() {
    let mut guest = Guest::new();
    // What follows the line is data.
    let mut program = guest.ask("CONNECT 52\nearly");
    let port = guest.accept(52);
    assert_eq!(answer(&program), format!("OK {port}\n"));
    assert_eq!(guest.receive_data(5), b"early");
    program.write_all(b"hello").unwrap();
    assert_eq!(guest.receive_data(5), b"hello");
    guest.send_data(52, port, b"world");
    let mut got = [0; 5];
    program.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"world");
}

#[test]
fn nobody_there_is_told_on_both_sides() {
    let mut guest = Guest::new();
    guest.send(Op::Request, 1025, 9000);
    guest.expect(Op::Reset, 1025, 9000);
    let program = guest.ask("CONNECT 52\n");
    let port = guest.receive().0.source_port;
    guest.send(Op::Reset, 52, port);
    assert_eq!(answer(&program), "");
    let program = guest.ask("HELLO\n");
    assert_eq!(answer(&program), "");
}

#[test]
fn a_program_that_gives_up_waiting_takes_its_request_back() {
    let mut guest = Guest::new();
    let program = guest.ask("CONNECT 52\n");
    let (header, _) = guest.receive();
    drop(program);
    guest.expect(Op::Reset, 52, header.source_port);
}

#[test]
fn a_guest_is_sent_no_more_than_it_has_room_for() {
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    guest.buffer = 6000;
    let mut program = guest.connect(1025, 9000, &listener);
    let data = pattern(10_000, 3);
    program.write_all(&data).unwrap();
    let mut got = guest.receive_data(6000);
    assert_eq!(got.len(), 6000);
    guest.expect(Op::CreditRequest, 1025, 9000);
    guest.send(Op::CreditUpdate, 1025, 9000);
    got.extend(guest.receive_data(4000));
    assert!(got == data);
}

#[test]
fn a_program_that_does_not_read_holds_up_its_own_connection_only() {
    let mut guest = Guest::new();
    let (slow, quick) = (guest.listen(1), guest.listen(2));
    let mut program = guest.connect(1025, 1, &slow);
    let mut other = guest.connect(1026, 2, &quick);
    // Fills the socket, then the device's buffer.
    let chunk = pattern(ROOM, 4);
    let (mut sent, mut forwarded) = (0_u32, 0_u32);
    while sent.wrapping_sub(forwarded) + (ROOM as u32) <= BUFFER {
        guest.send_data(1025, 1, &chunk);
        sent += ROOM as u32;
        guest.send(Op::CreditRequest, 1025, 1);
        // An unsolicited update may have come first; then the answer follows.
        let (header, _) = guest.receive();
        assert_eq!(header.op, Some(Op::CreditUpdate));
        forwarded = header.forwarded;
        assert!(sent < 64 << 20, "the socket never fills");
    }
    guest.send_data(1026, 2, b"quick");
    let mut got = [0; 5];
    other.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"quick");
    // Everything arrives once the program reads.
    let mut total = 0;
    let mut bytes = vec![0; ROOM];
    while total < sent {
        program.read_exact(&mut bytes).unwrap();
        assert!(bytes == chunk);
        total += ROOM as u32;
    }
    loop {
        let (header, _) = guest.receive();
        assert_eq!((header.op, header.destination_port), (Some(Op::CreditUpdate), 1025));
        if header.forwarded == sent {
            break;
        }
        guest.send(Op::CreditRequest, 1025, 1);
    }
}

#[test]
fn each_direction_ends_by_itself() {
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    let mut program = guest.connect(1025, 9000, &listener);
    guest.send_data(1025, 9000, b"last words");
    guest.shut_down(1025, 9000, SHUTDOWN_SEND);
    let mut text = String::new();
    program.read_to_string(&mut text).unwrap();
    assert_eq!(text, "last words");
    program.write_all(b"reply").unwrap();
    assert_eq!(guest.receive_data(5), b"reply");
    program.shutdown(Shutdown::Write).unwrap();
    assert_eq!(guest.expect(Op::Shutdown, 1025, 9000).flags & SHUTDOWN_SEND, SHUTDOWN_SEND);
    guest.shut_down(1025, 9000, SHUTDOWN_BOTH);
    // May follow the second half of the program's shutdown, because the socket reports both directions.
    let (mut header, _) = guest.receive();
    if header.op == Some(Op::Shutdown) {
        header = guest.receive().0;
    }
    assert_eq!(header.op, Some(Op::Reset));
}

#[test]
fn a_guest_that_will_not_read_stops_the_program() {
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    let mut program = guest.connect(1025, 9000, &listener);
    guest.shut_down(1025, 9000, SHUTDOWN_RECEIVE);
    guest.send(Op::CreditRequest, 1025, 9000);
    guest.expect(Op::CreditUpdate, 1025, 9000);
    assert_eq!(program.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    guest.send_data(1025, 9000, b"still");
    let mut got = [0; 5];
    program.read_exact(&mut got).unwrap();
}

#[test]
fn a_program_that_closes_ends_the_connection_after_its_last_byte() {
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    let mut program = guest.connect(1025, 9000, &listener);
    let data = pattern(5 * ROOM, 5);
    program.write_all(&data).unwrap();
    drop(program);
    assert!(guest.receive_data(data.len()) == data);
    let mut header = guest.expect(Op::Shutdown, 1025, 9000);
    if header.flags != SHUTDOWN_BOTH {
        header = guest.expect(Op::Shutdown, 1025, 9000);
    }
    assert_eq!(header.flags, SHUTDOWN_BOTH);
    guest.send(Op::Reset, 1025, 9000);
    // The ports are free again.
    guest.connect(1025, 9000, &listener);
}

#[test]
fn what_a_guest_sent_before_it_closed_is_delivered() {
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    let mut program = guest.connect(1025, 9000, &listener);
    // More than the socket holds while the program does not read.
    let chunk = pattern(ROOM, 6);
    let mut chunks = 0;
    loop {
        guest.send(Op::CreditRequest, 1025, 9000);
        let (header, _) = guest.receive();
        if (chunks * ROOM) as u32 - header.forwarded > BUFFER / 2 {
            break;
        }
        guest.send_data(1025, 9000, &chunk);
        chunks += 1;
        assert!(chunks < 10_000, "the socket never fills");
    }
    guest.shut_down(1025, 9000, SHUTDOWN_BOTH);
    guest.send(Op::Reset, 1025, 9000);
    // The guest may reuse its port at once.
    let mut second = guest.connect(1025, 9000, &listener);
    guest.send_data(1025, 9000, b"second");
    let mut bytes = Vec::new();
    program.read_to_end(&mut bytes).unwrap();
    assert!(bytes == chunk.repeat(chunks));
    let mut got = [0; 6];
    second.read_exact(&mut got).unwrap();
}

#[test]
fn a_reset_of_the_device_disconnects_programs_and_the_socket_stays() {
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    let mut program = guest.connect(1025, 9000, &listener);
    guest.rig.set_status(0);
    assert_eq!(program.read(&mut [0]).unwrap(), 0);
    // Requested without a driver, answered by the next one.
    let asking = guest.ask("CONNECT 52\n");
    guest.rig.start(EVENT_IDX);
    guest.post_buffers();
    let port = guest.accept(52);
    assert_eq!(answer(&asking), format!("OK {port}\n"));
}

#[test]
fn a_moved_guest_is_told_that_its_connections_are_gone() {
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    let _program = guest.connect(1025, 9000, &listener);
    let mut guest = guest.moved();
    guest.post_event();
    assert_eq!(guest.event(), [0; 4]);
    guest.send_data(1025, 9000, b"to nobody");
    guest.expect(Op::Reset, 1025, 9000);
    assert!(UnixStream::connect(&guest.path).is_ok());
}

#[test]
fn many_connections_at_once_keep_their_bytes_apart() {
    const COUNT: u32 = 100;
    let mut guest = Guest::new();
    let listener = guest.listen(9000);
    let programs: Vec<_> = (0..COUNT).map(|i| guest.connect(2000 + i, 9000, &listener)).collect();
    for i in 0..COUNT {
        guest.send_data(2000 + i, 9000, &pattern(50, i as u8));
    }
    for (i, mut program) in programs.iter().enumerate() {
        let mut got = [0; 50];
        program.read_exact(&mut got).unwrap();
        assert!(got[..] == pattern(50, i as u8));
        program.write_all(&pattern(60, i as u8)).unwrap();
        let (header, data) = guest.receive();
        assert_eq!(header.destination_port, 2000 + i as u32);
        assert!(data == pattern(60, i as u8));
    }
}
