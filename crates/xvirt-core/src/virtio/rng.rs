//! The entropy source (virtio 1.2, section 5.4), which fills buffers from the host's getrandom(2).

use std::os::fd::RawFd;

use super::{Chain, DeviceKind, DeviceState, Handler, Queues, Served, VirtioDevice};
use crate::Result;
use crate::sandbox::Work;

const QUEUE_SIZES: [u16; 1] = [64];
/// The most bytes per buffer; a driver that wants more asks again.
const MAX_BYTES: usize = 4096;

/// A virtio entropy source.
#[derive(Debug, Default)]
pub(crate) struct Rng;

impl VirtioDevice for Rng {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Rng
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn features(&self) -> u64 {
        0
    }

    fn read_config(&self, _: usize, _: &mut [u8]) {}

    fn activate(&self, _: u64) -> Result<Box<dyn Handler>> {
        Ok(Box::new(RngHandler { chain: Chain::default(), bytes: Box::new([0; MAX_BYTES]) }))
    }

    fn save(&self) -> DeviceState {
        DeviceState::Rng
    }

    fn work(&self) -> Option<Work> {
        Some(Work::Memory)
    }
}

struct RngHandler {
    chain: Chain,
    bytes: Box<[u8; MAX_BYTES]>,
}

impl Handler for RngHandler {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(index) else { return Ok(()) };
        let memory = queue.memory().clone();
        queue.drain(&mut self.chain, |chain| {
            let wanted = usize::try_from(chain.writable.len()).unwrap_or(MAX_BYTES).min(MAX_BYTES);
            let bytes = &mut self.bytes[..wanted];
            if let Err(error) = getrandom::fill(bytes) {
                // An empty answer is better than bytes that are not random; the driver asks again.
                tracing::error!(%error, "cannot get entropy from the host for a virtio-rng device");
                return Ok(0);
            }
            Ok(chain.writable.put(&memory, bytes)? as u32)
        })
    }

    fn input(&self) -> Option<RawFd> {
        None
    }

    fn receive(&mut self, _: &mut Queues) -> Served {
        Ok(())
    }
}
