//! The console (virtio 1.2, section 5.3), with one port.

use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use super::{Chain, DeviceKind, DeviceState, Handler, Queues, Served, VirtQueue, VirtioDevice};
use crate::Result;
use crate::console::ConsolePort;

const QUEUE_SIZES: [u16; 2] = [64, 64];
const RECEIVE: usize = 0;
/// Bytes copied at a time.
const CHUNK: usize = 4096;
/// Output taken from one chain; drivers send a page at most, and a hostile one may lose the rest.
const MAX_OUTPUT: usize = 1 << 20;

/// A virtio console.
pub(crate) struct Console {
    port: Arc<dyn ConsolePort>,
}

impl Console {
    /// A console that writes to and reads from `port`.
    pub(crate) fn new(port: Arc<dyn ConsolePort>) -> Self {
        Self { port }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl VirtioDevice for Console {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Console
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn features(&self) -> u64 {
        0
    }

    fn read_config(&self, _: usize, _: &mut [u8]) {}

    fn activate(&self, _: u64) -> Result<Box<dyn Handler>> {
        let (port, bytes) = (self.port.clone(), Box::new([0; CHUNK]));
        Ok(Box::new(ConsoleHandler { port, chain: Chain::default(), bytes, listening: false }))
    }

    fn save(&self) -> DeviceState {
        DeviceState::Console
    }
}

struct ConsoleHandler {
    port: Arc<dyn ConsolePort>,
    chain: Chain,
    bytes: Box<[u8; CHUNK]>,
    /// The driver has room for input: more of it is worth knowing about.
    listening: bool,
}

impl ConsoleHandler {
    /// Moves input to the driver until one of them has no more.
    fn feed(&mut self, queue: &mut VirtQueue) -> Served {
        let mut turn = queue.size();
        queue.disable_notification()?;
        loop {
            if !queue.pop(&mut self.chain)? {
                self.listening = false;
                if queue.enable_notification()? {
                    continue;
                }
                break;
            }
            let room = usize::try_from(self.chain.writable.len()).unwrap_or(CHUNK).min(CHUNK);
            let count = if turn == 0 { 0 } else { self.port.read_input(&mut self.bytes[..room]) };
            if count == 0 && (room > 0 || turn == 0) {
                queue.unpop(1);
                self.listening = true;
                break;
            }
            turn = turn.saturating_sub(1);
            let written = self.chain.writable.put(queue.memory(), &self.bytes[..count])?;
            queue.push(self.chain.head(), written as u32)?;
        }
        if turn == 0 {
            // There may be more, after the other queue's turn. Only fails when the counter is full, which will do.
            let _ = self.port.input_event().write(1);
        }
        queue.signal()
    }

    fn output(&mut self, queue: &mut VirtQueue) -> Served {
        let memory = queue.memory().clone();
        queue.drain(&mut self.chain, |chain| {
            let mut left = usize::try_from(chain.readable.len()).unwrap_or(MAX_OUTPUT).min(MAX_OUTPUT);
            while left > 0 {
                let bytes = &mut self.bytes[..left.min(CHUNK)];
                chain.readable.take(&memory, bytes)?;
                self.port.output(bytes);
                left -= bytes.len();
            }
            Ok(0)
        })
    }
}

impl Handler for ConsoleHandler {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(index) else { return Ok(()) };
        if index == RECEIVE { self.feed(queue) } else { self.output(queue) }
    }

    fn input(&self) -> Option<RawFd> {
        self.listening.then(|| self.port.input_event().as_raw_fd())
    }

    fn receive(&mut self, queues: &mut Queues) -> Served {
        // Empty when somebody was faster; the input is still there to be asked for.
        let _ = self.port.input_event().read();
        queues.get(RECEIVE).map_or(Ok(()), |queue| self.feed(queue))
    }
}
