//! The devices that are fuzzed, and their backends.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::programs::Programs;
use crate::config::IoEngine;
use crate::console::ConsolePort;
use crate::disk::BlockBackend;
use crate::memory::GuestSlice;
use crate::net::Offloads;
use crate::port::{GUEST_AGENT, PortStream};
use crate::sync::lock;
use crate::virtio::net::NetBackend;
use crate::virtio::{
    Balloon, BalloonState, Block, BlockState, Console, ConsoleState, DeviceState, Net, NetState, Rng, VirtioDevice,
    Vsock, VsockState,
};

/// Size of the disk in bytes.
const DISK: usize = 64 << 9;
/// The last sector of the disk is bad.
const BAD: usize = DISK - 512;

/// The kinds of device that are fuzzed.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Block,
    Net,
    Console,
    Rng,
    Balloon,
    Vsock,
}

/// The backend of any device: pending input, a disk, an event, a port, and host programs.
#[derive(Debug)]
pub(super) struct Endpoint {
    input: Mutex<VecDeque<Vec<u8>>>,
    event: Arc<EventFd>,
    port: PortStream,
    disk: Mutex<Vec<u8>>,
    programs: Mutex<Option<Programs>>,
}

impl Endpoint {
    pub(super) fn new() -> Arc<Self> {
        let event = Arc::new(EventFd::new(EFD_NONBLOCK).expect("there are descriptors"));
        let port = PortStream::new(GUEST_AGENT, Arc::clone(&event));
        port.power_on();
        let disk = Mutex::new(vec![0; DISK]);
        Arc::new(Self { input: Mutex::default(), event, port, disk, programs: Mutex::default() })
    }

    /// Makes `bytes` available as input.
    pub(super) fn give(&self, bytes: Vec<u8>) {
        if let Some(programs) = &mut *lock(&self.programs) {
            programs.act(&bytes);
            return;
        }
        if let Ok(connection) = self.port.wait_open(Some(Instant::now())) {
            // Fails only for want of bytes or of room, which may well be.
            let _ = connection.receive(&mut [0; 512], Some(Instant::now()));
            let _ = connection.send(&bytes, Some(Instant::now()));
        }
        lock(&self.input).push_back(bytes);
        self.event.write(1).expect("the counter has room");
    }

    fn take(&self, into: &mut [u8]) -> usize {
        let Some(bytes) = lock(&self.input).pop_front() else { return 0 };
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        count
    }

    /// The start of the range of a request, or an error.
    fn place(&self, offset: u64, length: u64) -> io::Result<usize> {
        let end = offset.checked_add(length).expect("no range wraps around");
        assert!(end <= DISK as u64, "asked for what is beyond the disk");
        if end > BAD as u64 && length > 0 { Err(io::ErrorKind::Other.into()) } else { Ok(offset as usize) }
    }
}

/// Builds a device of a kind, from a saved state if there is one.
pub(super) fn device(kind: Kind, endpoint: &Arc<Endpoint>, state: Option<DeviceState>) -> Arc<dyn VirtioDevice> {
    match (kind, state) {
        (Kind::Block, state) => {
            let state = match state {
                Some(DeviceState::Block(state)) => state,
                _ => BlockState::new(&**endpoint, "serial", 2),
            };
            Arc::new(Block::new(endpoint.clone(), IoEngine::Auto, Arc::new(|_| {}), state).expect("the state is good"))
        }
        (Kind::Net, state) => {
            let state = match state {
                Some(DeviceState::Net(state)) => state,
                // Its driver can acknowledge an announcement.
                _ => NetState { announce: true, ..NetState::new([2; 6], Some(1500)) },
            };
            Arc::new(Net::new(endpoint.clone(), state))
        }
        (Kind::Console, state) => {
            let state = match state {
                Some(DeviceState::Console(state)) => state,
                _ => ConsoleState::default(),
            };
            Arc::new(Console::new(endpoint.clone(), endpoint.port.backend(), state))
        }
        (Kind::Rng, _) => Arc::new(Rng),
        (Kind::Balloon, state) => {
            let state = match state {
                Some(DeviceState::Balloon(state)) => state,
                _ => BalloonState::new(4, true),
            };
            Arc::new(Balloon::new(Some(Duration::from_secs(1)), state).expect("there are descriptors"))
        }
        (Kind::Vsock, state) => {
            let moved = state.is_some();
            let state = match state {
                Some(DeviceState::Vsock(state)) => state,
                _ => VsockState { guest_cid: 3 },
            };
            // Uses a path of its own, because the device that it replaces still exists.
            let programs = Programs::new();
            let device = Vsock::new(programs.path(), state, moved).expect("nobody listens there");
            *lock(&endpoint.programs) = Some(programs);
            Arc::new(device)
        }
    }
}

impl ConsolePort for Endpoint {
    fn output(&self, _: &[u8]) {}

    fn read_input(&self, buf: &mut [u8]) -> usize {
        self.take(buf)
    }

    fn input_event(&self) -> &EventFd {
        &self.event
    }
}

impl NetBackend for Endpoint {
    fn input(&self) -> Option<RawFd> {
        Some(self.event.as_raw_fd())
    }

    fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        match self.take(frame) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn send(&self, frame: &[GuestSlice<'_>]) -> io::Result<()> {
        let mut bytes = [0; 64];
        let read: usize = frame.iter().map(|piece| piece.copy_to(&mut bytes)).sum();
        if read == 0 { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(()) }
    }

    fn set_offloads(&self, _: Offloads) -> crate::Result<()> {
        Ok(())
    }
}

impl BlockBackend for Endpoint {
    fn capacity(&self) -> u64 {
        DISK as u64
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let disk = lock(&self.disk);
        let mut at = self.place(offset, total(buffers))?;
        for buffer in buffers {
            buffer.copy_from(&disk[at..at + buffer.len()]);
            at += buffer.len();
        }
        Ok(())
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        let mut at = self.place(offset, total(buffers))?;
        for buffer in buffers {
            buffer.copy_to(&mut disk[at..at + buffer.len()]);
            at += buffer.len();
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.place(offset, length).map(drop)
    }

    fn write_zeroes(&self, offset: u64, length: u64, _: bool) -> io::Result<()> {
        let at = self.place(offset, length)?;
        lock(&self.disk)[at..at + length as usize].fill(0);
        Ok(())
    }
}

fn total(buffers: &[GuestSlice<'_>]) -> u64 {
    buffers.iter().map(|buffer| buffer.len() as u64).sum()
}
