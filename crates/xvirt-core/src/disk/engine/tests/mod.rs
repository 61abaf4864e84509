mod failures;
mod transfers;
mod waiting;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::disk::{self, Access, BlockBackend, ImageFormat};
use crate::memory::GuestRam;

pub(super) const ENGINES: [IoEngine; 2] = [IoEngine::IoUring, IoEngine::Threads];
pub(super) const BLOCK: u64 = 4096;
pub(super) const RAM: u64 = 8 << 20;

/// An engine, and the guest memory for its requests.
pub(super) struct Rig {
    pub(super) engine: Engine,
    pub(super) memory: Arc<GuestRam>,
}

impl Rig {
    /// `None`, with a message, if the host lacks this engine.
    pub(super) fn new(backend: &Arc<dyn BlockBackend>, choice: IoEngine) -> Option<Self> {
        let memory = Arc::new(GuestRam::from_ranges(&[(GuestAddress(0), RAM as usize)]).unwrap());
        match Engine::new(Arc::clone(backend), choice) {
            Ok(engine) => Some(Self { engine, memory }),
            Err(error) => {
                println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
                None
            }
        }
    }

    /// A request to transfer these pieces of memory to or from `offset`.
    pub(super) fn transfer(&self, operation: IoOperation, offset: u64, pieces: &[(u64, u32)]) -> Box<Request> {
        let mut request = Box::new(Request::new(Arc::clone(&self.memory)));
        request.operation = operation;
        for (address, length) in pieces {
            request.buffers.append(*address, *length).unwrap();
        }
        request.ranges.push(offset..offset + request.buffers.len());
        request.token = offset as usize;
        request
    }

    pub(super) fn other(&self, operation: IoOperation, ranges: impl IntoIterator<Item = Range<u64>>) -> Box<Request> {
        let mut request = Box::new(Request::new(Arc::clone(&self.memory)));
        request.operation = operation;
        request.ranges.extend(ranges);
        request
    }

    /// Executes one request and returns its result.
    pub(super) fn one(&mut self, request: Box<Request>) -> Result<(), Failure> {
        self.engine.add(request);
        self.engine.submit();
        self.engine.wait();
        let request = self.engine.reap().unwrap();
        assert_eq!(self.engine.in_flight(), 0);
        request.outcome
    }

    /// Waits for all requests in flight and returns them in order of completion.
    pub(super) fn all(&mut self) -> Vec<Box<Request>> {
        let mut ended = Vec::new();
        while self.engine.in_flight() > 0 {
            self.engine.wait();
            ended.extend(std::iter::from_fn(|| self.engine.reap()));
        }
        ended
    }

    pub(super) fn fill(&self, address: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(address)).unwrap();
    }

    pub(super) fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }
}

pub(super) fn image(folder: &Path, format: ImageFormat, size: u64) -> Arc<dyn BlockBackend> {
    let path = folder.join(format.to_string());
    if !path.exists() {
        disk::create(&path, format, size).unwrap();
    }
    disk::open(&path, Some(format), Access::ReadWrite).unwrap()
}

pub(super) fn pattern(block: u64) -> Vec<u8> {
    (0..BLOCK).map(|i| (block.wrapping_mul(0x9e37_79b9) >> (i % 23)) as u8 ^ i as u8).collect()
}
