//! The target of a migration for fuzzers.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use uuid::Uuid;
use vm_memory::GuestAddress;

use super::frame::{frame, preamble};
use super::message::{Hello, Kind, Offer, encode};
use super::target::{TargetVm, receive};
use super::{Channel, Connection, Reception};
use crate::Result;
use crate::memory::GuestRam;
use crate::state::ranges_of;
use crate::sync::lock;

/// The guest's memory in bytes.
const MEMORY: usize = 4 << 20;

/// Receives these bytes as all that a source sends.
pub fn receive_bytes(bytes: &[u8]) {
    run(bytes.to_vec());
}

/// Receives messages with valid headers after a valid offer. Each is a byte for its kind, two for its length, and its
/// body.
pub fn receive_messages(mut messages: &[u8]) {
    let hello = Hello { migration: Uuid::nil(), connection: 0, connections: 1, features: 0 };
    let Some(ram) = memory() else { return };
    let offer = Offer {
        uuid: Uuid::nil(),
        name: "web-1".to_owned(),
        configuration: "{}".to_owned(),
        memory: ranges_of(&ram),
        requirements: Vec::new(),
        version: String::new(),
        check: false,
    };
    let mut bytes = preamble().to_vec();
    for start in [encode(Kind::Hello, &hello), encode(Kind::Offer, &offer)] {
        bytes.extend(start.unwrap_or_default());
    }
    while let Some(([kind, low, high], rest)) = messages.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        if let Some(kind) = Kind::from_number(*kind) {
            bytes.extend(frame(kind, body));
        }
        messages = rest;
    }
    run(bytes);
}

fn run(bytes: Vec<u8>) {
    let settings = Reception::default().silence_limit(Duration::from_secs(5));
    let _ = receive(&Sent(Mutex::new(Some(bytes))), &settings, &(), &(), &mut |_, _| {
        let ram = memory().ok_or_else(Default::default)?;
        Ok(Vm(ram))
    });
}

fn memory() -> Option<GuestRam> {
    GuestRam::from_ranges(&[(GuestAddress(0), MEMORY)]).ok()
}

/// A channel over which everything has been sent already.
struct Sent(Mutex<Option<Vec<u8>>>);

impl Channel for Sent {
    fn connect(&self, _: Duration) -> io::Result<Box<dyn Connection>> {
        let bytes = lock(&self.0).take().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Box::new(Stream(Mutex::new(io::Cursor::new(bytes)))))
    }
}

struct Stream(Mutex<io::Cursor<Vec<u8>>>);

impl Connection for Stream {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut *lock(&self.0), buffer)
    }

    fn finish(&self) {}

    fn close(&self) {}
}

struct Vm(GuestRam);

impl TargetVm for Vm {
    type Running = ();

    fn memory(&self) -> &GuestRam {
        &self.0
    }

    fn prepare(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn run(self) -> Result<()> {
        Ok(())
    }
}
