//! Fuzzes the queues of a vsock device with arbitrary drivers and host programs.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use xvirt_core::fuzzing::virtio::{Driver, Kind, Piece};
use xvirt_fuzz::virtio::{Content, Part, Session};

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// The port on which a program listens.
const LISTENER: u32 = 1;
/// The host port of the first program that connects to the guest.
const FIRST_PROGRAM: u32 = 1 << 30;

fuzz_target!(|input: Input| {
    let mut driver = input.session.begin(Kind::Vsock);
    if input.connected {
        connect(&mut driver);
    }
    input.session.go_on(&mut driver);
});

#[derive(Arbitrary, Debug)]
struct Input {
    /// Starts with two connections, because random packets almost never create one.
    connected: bool,
    session: Session<Packet>,
}

/// Creates a connection from the guest to a program, and one from a program to the guest.
fn connect(driver: &mut Driver) {
    for _ in 0..8 {
        let room = Piece { address: driver.place(&[0; 1024]), length: 1024, write: true };
        driver.chain(RECEIVE, &[room], false);
    }
    driver.kick(RECEIVE);
    // The packets that request and accept a connection (virtio 1.2, section 5.10.6).
    for (op, host_port) in [(1, LISTENER), (2, FIRST_PROGRAM)] {
        if host_port == FIRST_PROGRAM {
            // Requests a connection to port 0.
            driver.input(vec![1]);
        }
        let header = [3, 0, 2, 0, 0, host_port, 0, 1 | op << 16, 0, 1024, 0];
        let packet = place(driver, &header, &[]);
        driver.chain(TRANSMIT, &[packet], false);
        driver.kick(TRANSMIT);
    }
}

/// Writes a packet.
fn place(driver: &mut Driver, header: &[u32; 11], data: &[u8]) -> Piece {
    let mut bytes: Vec<u8> = header.iter().flat_map(|field| field.to_le_bytes()).collect();
    bytes.extend(data);
    Piece { address: driver.place(&bytes), length: bytes.len() as u32, write: false }
}

#[derive(Arbitrary, Debug)]
enum Packet {
    /// A packet of a connection that may exist.
    Of {
        guest_port: u8,
        host_port: u8,
        op: u8,
        flags: u8,
        buffer: u16,
        forwarded: u16,
        data: Vec<u8>,
    },
    /// An arbitrary packet.
    Any {
        fields: [u32; 11],
        data: Vec<u8>,
    },
    Other(Part),
}

impl Content for Packet {
    fn piece(&self, driver: &mut Driver) -> Piece {
        match self {
            Self::Of { guest_port, host_port, op, flags, buffer, forwarded, data } => {
                let host_ports = [LISTENER, FIRST_PROGRAM, FIRST_PROGRAM + 1, LISTENER + 1];
                let ports = [u32::from(guest_port % 2), host_ports[usize::from(host_port % 4)]];
                let (length, kind) = (data.len() as u32, 1 | u32::from(op % 9) << 16);
                let credit = [u32::from(*buffer), u32::from(*forwarded)];
                let flags = u32::from(flags % 4);
                let header = [3, 0, 2, 0, ports[0], ports[1], length, kind, flags, credit[0], credit[1]];
                place(driver, &header, data)
            }
            Self::Any { fields, data } => place(driver, fields, data),
            Self::Other(part) => part.piece(driver),
        }
    }
}
