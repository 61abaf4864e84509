//! A driver that follows the protocol, and one that does not.

mod hostile;
mod streams;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::device::{EVENT, RECEIVE, TRANSMIT};
use super::packet::{HEADER, Header, Op};
use super::{Vsock, port_path};
use crate::device::Device;
use crate::virtio::VsockState;
use crate::virtio::testing::{DATA, EVENT_IDX, Piece, Rig};

pub(super) const CID: u64 = 42;
/// The data size of the driver's buffers.
pub(super) const ROOM: usize = 4096;
/// The number of posted receive buffers.
const BUFFERS: u64 = 12;
const TRANSMIT_DATA: u64 = DATA + 0x10_0000;

/// A guest whose driver is the test.
pub(super) struct Guest {
    pub(super) rig: Rig,
    pub(super) path: PathBuf,
    folder: tempfile::TempDir,
    /// The receive buffer of each descriptor.
    buffers: HashMap<u32, u64>,
    /// The buffer size that the guest announces.
    pub(super) buffer: u32,
    pub(super) forwarded: u32,
}

impl Guest {
    /// Starts a guest with receive buffers.
    pub(super) fn new() -> Self {
        let mut guest = Self::without_buffers();
        guest.post_buffers();
        guest
    }

    pub(super) fn without_buffers() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.sock");
        let device = Arc::new(Vsock::new(&path, VsockState { guest_cid: CID }, false).unwrap());
        let mut rig = Rig::new(device);
        rig.start(EVENT_IDX);
        Self { rig, path, folder, buffers: HashMap::new(), buffer: 1 << 20, forwarded: 0 }
    }

    /// Saves the guest and restores it elsewhere.
    pub(super) fn moved(self) -> Self {
        let Self { rig, folder, .. } = self;
        let path = folder.path().join("other.sock");
        let device = Arc::new(Vsock::new(&path, VsockState { guest_cid: CID }, true).unwrap());
        let rig = rig.moved(|_| device);
        rig.pci.resume();
        Self { rig, path, folder, buffers: self.buffers, buffer: 1 << 20, forwarded: 0 }
    }

    pub(super) fn post_buffers(&mut self) {
        (0..BUFFERS).for_each(|i| self.post_buffer(DATA + 0x2000 * i));
        self.rig.kick(RECEIVE);
    }

    fn post_buffer(&mut self, address: u64) {
        let head = self.rig.post(RECEIVE, &[Piece::Write(address, (HEADER + ROOM) as u32)]);
        self.buffers.insert(head.into(), address);
    }

    /// A header of this guest.
    pub(super) fn header(&self, op: u16, guest: u32, host: u32) -> Raw {
        Raw {
            source_cid: CID,
            destination_cid: 2,
            guest,
            host,
            length: 0,
            kind: 1,
            op,
            flags: 0,
            buffer: self.buffer,
            forwarded: self.forwarded,
        }
    }

    pub(super) fn send_raw(&mut self, raw: Raw, data: &[u8]) {
        self.rig.fill(TRANSMIT_DATA, &raw.bytes());
        self.rig.fill(TRANSMIT_DATA + HEADER as u64, data);
        let length = data.len() as u32;
        let pieces = [Piece::Read(TRANSMIT_DATA, HEADER as u32), Piece::Read(TRANSMIT_DATA + HEADER as u64, length)];
        let pieces = if length == 0 { &pieces[..1] } else { &pieces[..] };
        self.rig.request(TRANSMIT, pieces);
    }

    pub(super) fn send(&mut self, op: Op, guest: u32, host: u32) {
        self.send_raw(self.header(op as u16, guest, host), &[]);
    }

    pub(super) fn send_data(&mut self, guest: u32, host: u32, data: &[u8]) {
        let raw = self.header(Op::Data as u16, guest, host);
        self.send_raw(Raw { length: data.len() as u32, ..raw }, data);
    }

    pub(super) fn shut_down(&mut self, guest: u32, host: u32, flags: u32) {
        let raw = self.header(Op::Shutdown as u16, guest, host);
        self.send_raw(Raw { flags, ..raw }, &[]);
    }

    /// Receives the next packet and its data, and posts the buffer again.
    pub(super) fn receive(&mut self) -> (Header, Vec<u8>) {
        let (head, written) = self.rig.used(RECEIVE);
        let address = self.buffers[&head];
        let bytes = self.rig.bytes(address, written as usize);
        let header = Header::from_bytes(bytes[..HEADER].try_into().unwrap());
        assert_eq!(header.length as usize, bytes.len() - HEADER);
        assert_eq!((header.destination_cid, header.kind), (CID, 1));
        self.post_buffer(address);
        self.rig.kick(RECEIVE);
        (header, bytes[HEADER..].to_vec())
    }

    /// Receives the next packet and checks its fields.
    pub(super) fn expect(&mut self, op: Op, guest: u32, host: u32) -> Header {
        let (header, _) = self.receive();
        assert_eq!((header.op, header.destination_port, header.source_port), (Some(op), guest, host), "{header:?}");
        header
    }

    /// Receives at least `length` bytes of data, from any number of packets.
    pub(super) fn receive_data(&mut self, length: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < length {
            let (header, data) = self.receive();
            assert_eq!(header.op, Some(Op::Data), "{header:?}");
            self.forwarded = self.forwarded.wrapping_add(data.len() as u32);
            all.extend(data);
        }
        all
    }

    /// A host program that listens on a port.
    pub(super) fn listen(&self, port: u32) -> UnixListener {
        UnixListener::bind(port_path(&self.path, port)).unwrap()
    }

    /// Connects to a program on the host.
    pub(super) fn connect(&mut self, guest: u32, host: u32, listener: &UnixListener) -> UnixStream {
        self.send(Op::Request, guest, host);
        self.expect(Op::Response, guest, host);
        patient(listener.accept().unwrap().0)
    }

    /// A host program that requests a connection to a port of the guest.
    pub(super) fn ask(&self, line: &str) -> UnixStream {
        let mut program = patient(UnixStream::connect(&self.path).unwrap());
        program.write_all(line.as_bytes()).unwrap();
        program
    }

    /// Accepts a connection that a host program requested, and returns its port.
    pub(super) fn accept(&mut self, guest: u32) -> u32 {
        let (header, _) = self.receive();
        assert_eq!((header.op, header.destination_port), (Some(Op::Request), guest));
        self.send(Op::Response, guest, header.source_port);
        header.source_port
    }

    /// Posts the driver's event buffer.
    pub(super) fn post_event(&mut self) {
        self.rig.post(EVENT, &[Piece::Write(DATA + 0x1f_0000, 4)]);
        self.rig.kick(EVENT);
    }

    pub(super) fn event(&mut self) -> Vec<u8> {
        assert_eq!(self.rig.used(EVENT).1, 4);
        self.rig.bytes(DATA + 0x1f_0000, 4)
    }
}

/// A header in which any field may be wrong.
#[derive(Clone, Copy)]
pub(super) struct Raw {
    pub(super) source_cid: u64,
    pub(super) destination_cid: u64,
    pub(super) guest: u32,
    pub(super) host: u32,
    pub(super) length: u32,
    pub(super) kind: u16,
    pub(super) op: u16,
    pub(super) flags: u32,
    pub(super) buffer: u32,
    pub(super) forwarded: u32,
}

impl Raw {
    fn bytes(&self) -> Vec<u8> {
        let Self { source_cid, destination_cid, guest, host, length, kind, op, flags, buffer, forwarded } = self;
        [
            &source_cid.to_le_bytes()[..],
            &destination_cid.to_le_bytes(),
            &guest.to_le_bytes(),
            &host.to_le_bytes(),
            &length.to_le_bytes(),
            &kind.to_le_bytes(),
            &op.to_le_bytes(),
            &flags.to_le_bytes(),
            &buffer.to_le_bytes(),
            &forwarded.to_le_bytes(),
        ]
        .concat()
    }
}

pub(super) fn patient(stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// The answer to `CONNECT`, or an empty string if the device closed the socket.
pub(super) fn answer(program: &UnixStream) -> String {
    let mut line = String::new();
    // A larger buffer would also be correct, because nothing follows the line yet.
    BufReader::with_capacity(1, program).read_line(&mut line).unwrap();
    line
}

pub(super) fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add((i >> 8) as u8).wrapping_add(seed)).collect()
}
